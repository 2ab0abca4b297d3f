# Sourced by the build scripts: what they share. Nothing is built twice, and two builds at once do no harm.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/mailcow-operator"

# go_version: the compiler's version, or a clear word that there is none.
go_version() {
  if ! command -v go >/dev/null; then
    echo "Go is missing: install Go 1.26 or newer (https://go.dev/dl) to build the test control plane" >&2
    return 1
  fi
  go env GOVERSION
}

# build_once FOLDER COMMAND...: runs COMMAND with a new folder as its last argument, which then becomes FOLDER in one
# step. Instant when FOLDER exists; whoever comes second waits for the first.
build_once() {
  local folder="$1" building
  shift
  [ -d "$folder" ] && return
  mkdir -p "$(dirname "$folder")"
  (
    flock 9
    [ -d "$folder" ] && exit
    echo "building $(basename "$folder"), a few minutes the first time" >&2
    building="$(mktemp -d "$folder.building-XXXXXX")"
    trap 'rm -rf "$building"' EXIT
    # 9>&-: no daemon the compiler leaves behind may hold the lock.
    "$@" "$building" 9>&- >&2
    chmod 755 "$building"
    mv -T "$building" "$folder"
  ) 9>"$folder.lock"
}

# needs PROGRAM WHAT: fails if the program is missing, and says what to install.
needs() {
  command -v "$1" >/dev/null || { echo "$1 is missing: install $2" >&2; exit 1; }
}

# install_once FOLDER WHAT MODE COMMAND...: runs COMMAND, which installs WHAT into FOLDER, and prints FOLDER. Instant when
# that was done before; whoever comes second waits for the first. With the MODE --ready nothing is installed: it fails
# when that was not done before. FOLDER is not moved, because a virtual environment knows its own path.
install_once() {
  local folder="$1" what="$2" mode="$3"
  shift 3
  if [ "$mode" = --ready ]; then
    [ -e "$folder/ready" ] || exit 1
  elif ! [ -e "$folder/ready" ]; then
    mkdir -p "$(dirname "$folder")"
    (
      flock 9
      [ -e "$folder/ready" ] && exit
      echo "installing $what" >&2
      rm -rf "$folder"
      mkdir -p "$folder"
      "$@" 9>&- >&2
      touch "$folder/ready"
    ) 9>"$folder.lock"
  fi
  echo "$folder"
}

#!/usr/bin/env bash
# Installs the receivers that judge the intake worker into a folder of the cache and prints it: the Python packages of
# requirements.txt (python is in bin/ there) and the library standardwebhooks of Node.
# With --ready nothing is installed: it fails when that was not done before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../controlplane/cache.sh

command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or newer" >&2; exit 1; }
command -v npm >/dev/null || { echo "npm is missing: install Node 20 or newer" >&2; exit 1; }
hash="$(cat requirements.txt build.sh <(python3 -V) | sha256sum | cut -c1-16)"
folder="$cache/intake-judges-$hash"

if [ "${1:-}" = --ready ]; then
  [ -e "$folder/ready" ] || exit 1
  echo "$folder"
  exit
fi

# A virtual environment knows its own path, so it is made where it stays, and marked when it is whole.
if ! [ -e "$folder/ready" ]; then
  mkdir -p "$cache"
  (
    flock 9
    [ -e "$folder/ready" ] && exit
    echo "installing CalDAV servers and webhook libraries that judge the intake worker" >&2
    python3 -m venv --clear "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt >&2
    npm install --silent --no-fund --no-audit --prefix "$folder" standardwebhooks@1.1.1 >&2
    touch "$folder/ready"
  ) 9>"$folder.lock"
fi
echo "$folder"

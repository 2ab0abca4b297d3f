#!/usr/bin/env bash
# Installs the Python libraries of requirements.txt into a folder of the cache and prints it; python is in bin/ there.
# With --ready nothing is installed: it fails when that was not done before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../controlplane/cache.sh

command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or newer" >&2; exit 1; }
hash="$(cat requirements.txt build.sh <(python3 -V) | sha256sum | cut -c1-16)"
folder="$cache/second-opinion-$hash"

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
    echo "installing the Python libraries that give a second opinion on DNS records" >&2
    python3 -m venv --clear "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt >&2
    touch "$folder/ready"
  ) 9>"$folder.lock"
fi
echo "$folder"

#!/usr/bin/env bash
# Installs the Python libraries of requirements.txt into a folder of the cache and prints it; python is in bin/ there.
# With --ready nothing is installed: it fails when that was not done before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../controlplane/cache.sh

needs python3 "Python 3.11 or newer"
hash="$(cat requirements.txt build.sh <(python3 -V) | sha256sum | cut -c1-16)"
folder="$cache/second-opinion-$hash"

install() {
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt
}

install_once "$folder" "the Python libraries that give a second opinion on DNS records" "${1:-}" install

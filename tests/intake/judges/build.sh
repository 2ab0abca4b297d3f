#!/usr/bin/env bash
# Installs the receivers that judge the intake worker into a folder of the cache and prints it: the Python packages of
# requirements.txt (python is in bin/ there) and the library standardwebhooks of Node.
# With --ready nothing is installed: it fails when that was not done before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../controlplane/cache.sh

needs python3 "Python 3.11 or newer"
needs npm "Node 20 or newer"
hash="$(cat requirements.txt build.sh <(python3 -V) | sha256sum | cut -c1-16)"
folder="$cache/intake-judges-$hash"

install() {
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
  npm install --silent --no-fund --no-audit --prefix "$folder" standardwebhooks@1.1.1
}

install_once "$folder" "CalDAV servers and webhook libraries that judge the intake worker" "${1:-}" install

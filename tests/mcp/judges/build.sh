#!/usr/bin/env bash
# Installs the public clients and the conformance suite into a folder of the cache and prints it: python is in
# venv/bin there, the npm packages in node_modules. With --ready nothing is installed: it fails when that was not done
# before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../controlplane/cache.sh

for program in python3 node npm; do
  command -v "$program" >/dev/null || { echo "$program is missing: install Python 3.11 or newer and Node.js 20 or newer" >&2; exit 1; }
done
hash="$(cat requirements.txt package.json package-lock.json build.sh ./*.mjs ./*.py <(python3 -V; node -v) | sha256sum | cut -c1-16)"
folder="$cache/mcp-judges-$hash"

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
    echo "installing the public MCP clients and the conformance suite" >&2
    rm -rf "$folder"
    mkdir -p "$folder"
    python3 -m venv "$folder/venv" >&2
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt >&2
    cp package.json package-lock.json ./*.mjs ./*.py "$folder"
    (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2)
    touch "$folder/ready"
  ) 9>"$folder.lock"
fi
echo "$folder"

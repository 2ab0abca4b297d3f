#!/usr/bin/env bash
# Installs the public clients and the conformance suite into a folder of the cache and prints it: python is in
# venv/bin there, the npm packages in node_modules. With --ready nothing is installed: it fails when that was not done
# before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../controlplane/cache.sh

needs python3 "Python 3.11 or newer"
needs node "Node.js 20 or newer"
needs npm "Node.js 20 or newer"
hash="$(cat requirements.txt package.json package-lock.json build.sh ./*.mjs ./*.py <(python3 -V; node -v) | sha256sum | cut -c1-16)"
folder="$cache/mcp-judges-$hash"

install() {
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt
  cp package.json package-lock.json ./*.mjs ./*.py "$folder"
  (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts)
}

install_once "$folder" "the public MCP clients and the conformance suite" "${1:-}" install

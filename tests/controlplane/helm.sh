#!/usr/bin/env bash
# Builds Helm into the cache and prints the path of the binary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./cache.sh

version=v4.3.1
folder="$cache/helm-$version-$(go_version)"

build() {
  (cd "$1" && GOBIN="$1" go install -trimpath -ldflags '-s -w' "helm.sh/helm/v4/cmd/helm@$version")
}

build_once "$folder" build
echo "$folder/helm"

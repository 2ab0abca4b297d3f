#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl (one binary under four names) into the cache and
# prints the folder they are in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./cache.sh

go="$(go_version)"
hash="$(cat go.sum go.mod main.go build.sh <(echo "$go") | sha256sum | cut -c1-16)"
folder="$cache/controlplane-$hash"

build() {
  local kubernetes version=k8s.io/component-base/version
  kubernetes="$(go list -m -f '{{.Version}}' k8s.io/kubernetes)"
  # kubectl refuses a server whose version was not set at link time.
  local minor="${kubernetes#v1.}"
  local link="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"
  go build -trimpath -buildvcs=false -ldflags "$link" -o "$1/controlplane" .
  for name in etcd kube-apiserver kube-controller-manager kubectl; do
    ln -s controlplane "$1/$name"
  done
}

build_once "$folder" build
echo "$folder"

#!/usr/bin/env bash
# Builds the judges into the cache and prints the folder: the program `judges`, and the CRDs of Argo CD's and Flux's
# kinds that the examples use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../controlplane/cache.sh

argocd=github.com/argoproj/argo-cd/v3@v3.5.7
kustomize=github.com/fluxcd/kustomize-controller@v1.9.4
source=github.com/fluxcd/source-controller@v1.9.4

hash="$(cat go.sum go.mod ./*.go build.sh <(go_version) | sha256sum | cut -c1-16)"
folder="$cache/judges-$hash"

# crd MODULE FILE FOLDER: a file of a module, of which nothing else is kept.
crd() {
  local modules="$3/modules"
  (cd "$3" && GOFLAGS=-modcacherw GOMODCACHE="$modules" go mod download "$1")
  cp "$modules/$1/$2" "$3/"
  rm -rf "$modules"
}

build() {
  crd "$argocd" manifests/crds/application-crd.yaml "$1"
  crd "$kustomize" config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml "$1"
  crd "$source" config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml "$1"
  go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$1/judges" .
}

build_once "$folder" build
echo "$folder"

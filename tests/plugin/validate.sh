#!/usr/bin/env bash
# Judges a manifest of krew with krew's own validator, installs the archive beside it with krew, and runs the plugin. Both
# programs of krew are built once into the cache.
#
#   tests/plugin/validate.sh MANIFEST [ARCHIVE]
set -euo pipefail
manifest="$(realpath "${1:?usage: validate.sh MANIFEST [ARCHIVE]}")"
archive="${2:+$(realpath "$2")}"
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../controlplane/cache.sh

folder="$cache/krew-$(cat go.sum go.mod validate.sh <(go_version) | sha256sum | cut -c1-16)"
build() {
  go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$1/" sigs.k8s.io/krew/cmd/validate-krew-manifest sigs.k8s.io/krew/cmd/krew
}
build_once "$folder" build
"$folder/validate-krew-manifest" -skip-install -manifest "$manifest"
[ -n "$archive" ] || exit 0
root="$(mktemp -d)"
trap 'chmod -R u+w "$root"; rm -rf "$root"' EXIT
KREW_ROOT="$root" KREW_NO_UPGRADE_CHECK=1 "$folder/krew" install --manifest "$manifest" --archive "$archive"
PATH="$root/bin:$PATH" kubectl-email --version

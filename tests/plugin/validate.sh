#!/usr/bin/env bash
# Judges a manifest of krew with krew's own validator.
#
#   tests/plugin/validate.sh MANIFEST
set -euo pipefail
manifest="$(realpath "${1:?usage: validate.sh MANIFEST}")"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/mailcow-operator/krew-v0.4.5"
if [ ! -x "$folder/validate-krew-manifest" ]; then
  GOBIN="$folder" GOFLAGS=-mod=mod go install sigs.k8s.io/krew/cmd/validate-krew-manifest@v0.4.5
fi
"$folder/validate-krew-manifest" -manifest "$manifest" "${@:2}"

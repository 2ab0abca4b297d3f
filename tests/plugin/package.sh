#!/usr/bin/env bash
# Builds the kubectl plugin for this machine as a static program, packs it with the licence as krew wants it, and fills in
# krew's manifest for this one platform.
#
#   tests/plugin/package.sh FOLDER            # FOLDER is made anew
#   PROFILE=dev tests/plugin/package.sh FOLDER
#   PROGRAM=FILE tests/plugin/package.sh FOLDER   # packs a program that was built before
set -euo pipefail
folder="$(realpath -m "${1:?usage: package.sh FOLDER}")"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
profile="${PROFILE:-release}"
target="$(uname -m)-unknown-linux-gnu"
case "$(uname -m)" in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) echo "$(uname -m) is no platform of the plugin" >&2; exit 1 ;; esac
program="${PROGRAM:-}"
if [ -z "$program" ]; then
  RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --quiet --locked --profile "$profile" --target "$target" --bin kubectl-email
  built="$(cargo metadata --no-deps --format-version 1 --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')"
  program="$built/$target/${profile/#dev/debug}/kubectl-email"
  if readelf --program-headers "$program" | grep -q INTERP; then
    echo "$program is not linked statically" >&2
    exit 1
  fi
fi
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)"
rm -rf "$folder"
mkdir -p "$folder/content"
install -m 755 -s "$program" "$folder/content/kubectl-email"
install -m 644 LICENSE "$folder/content/LICENSE"
archive="kubectl-email_linux_$arch.tar.gz"
tar -C "$folder/content" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -czf "$folder/$archive" kubectl-email LICENSE
sum="$(sha256sum "$folder/$archive" | cut -d' ' -f1)"
# The head of the manifest, and the entry of this platform.
awk -v platform="linux, arch: $arch" '
  /^  - selector:/ { entry = $0; getline; shown = index($0, platform) > 0; if (shown) { print entry; print } inside = 1; next }
  !inside || shown { print }
' .krew.yaml | sed "s/{{VERSION}}/$version/; s/{{SHA256_linux_$arch}}/$sum/" >"$folder/email.yaml"
if grep -n '{{' "$folder/email.yaml"; then
  echo "$folder/email.yaml is not filled in" >&2
  exit 1
fi
echo "$folder/$archive: $(stat -c %s "$folder/$archive") bytes, sha256 $sum"

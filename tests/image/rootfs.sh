#!/usr/bin/env bash
# Makes the root file system of the image, without a container engine: the program and nothing to run beside it.
#
#   tests/image/rootfs.sh FOLDER            # FOLDER is made anew
#   PROFILE=dev tests/image/rootfs.sh FOLDER
set -euo pipefail
folder="$(realpath -m "${1:?usage: rootfs.sh FOLDER}")"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
profile="${PROFILE:-release}"
target="$(uname -m)-unknown-linux-gnu"
authorities=/etc/ssl/certs/ca-certificates.crt
[ -f "$authorities" ] || { echo "$authorities is missing: install ca-certificates" >&2; exit 1; }

# Static, so that the image needs no C library. Since glibc 2.34 names are looked up without loading another either.
# Relocations in their short form (glibc 2.36) take 12 KB instead of most of a megabyte, which a start brings into memory.
RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
  cargo build --quiet --locked --profile "$profile" --target "$target" --bin mailcow-operator
built="$(cargo metadata --no-deps --format-version 1 --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')"
program="$built/$target/${profile/#dev/debug}/mailcow-operator"
if readelf --program-headers "$program" | grep -q INTERP; then
  echo "$program is not linked statically" >&2
  exit 1
fi

rm -rf "$folder"
mkdir -p "$folder/etc/ssl/certs"
install -m 755 -s "$program" "$folder/mailcow-operator"
# For Mailcow and for MTA-STS policies; a private authority comes with the Secret of the connection.
install -m 644 "$authorities" "$folder/etc/ssl/certs/ca-certificates.crt"
echo 'hosts: files dns' >"$folder/etc/nsswitch.conf"
echo 'mailcow-operator:x:65532:65532::/:/sbin/nologin' >"$folder/etc/passwd"
echo 'mailcow-operator:x:65532:' >"$folder/etc/group"
find "$folder" -type f -printf '%10s  /%P\n' | sort -k2
echo "$(du -sb --apparent-size "$folder" | cut -f1) bytes in $folder"

#!/usr/bin/env bash
# Mutation testing of src/plan and src/tenancy: cargo-mutants changes one comparison, field or return value after the
# other, and a unit test of these two must fail. At least 95 % of the mutants that compile must be caught.
#
# Usage: run.sh TARGET [FILE]. TARGET is cargo's target folder; FILE restricts the run to files with this word in their
# path. The result is in TARGET/mutants/mutants.out: missed.txt lists the mutants that no test notices.
#
# cargo-mutants builds the library once a mutant. The whole one takes 10 s of CPU each time, and the modules that these
# two need 4 s: the mutated copy of the sources has only those. It shares the target folder, so that no dependency is
# built again, and it is built without debug information, so that cargo keeps it apart from the developer's own builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

at_least=95
folders=(plan tenancy)
modules='clock|crd|mail|outcome|plan|tenancy'
target="$1"
only="${2:-}"
output="$target/mutants"
tree="$output/tree"

command -v cargo-mutants >/dev/null || nice cargo install cargo-mutants --version 27.1.0 --locked

rm -rf "$tree" "$output/mutants.out" && mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard -- \
  Cargo.toml Cargo.lock src tests/ground tests/simulator tests/nameserver tests/demo |
  xargs -0 cp --parents --preserve=timestamps -t "$tree"
grep -E "^(//!|pub mod ($modules);)" src/lib.rs > "$tree/src/lib.rs"

files=() filters=()
for folder in "${folders[@]}"; do
  files+=(--file "src/$folder/**${only:+/*${only##*/}*}")
  filters+=("$folder::")
done
# 2: mutants were missed; 3: tests did not end.
status=0
CARGO_TARGET_DIR="$target" CARGO_PROFILE_DEV_DEBUG=false RUST_BACKTRACE=0 \
  nice -n 19 cargo mutants --dir "$tree" --output "$output" --in-place --timeout 60 --no-shuffle "${files[@]}" \
  --cargo-arg=--locked -- --lib -- "${filters[@]}" || status=$?
case "$status" in 0 | 2 | 3) ;; *) exit "$status" ;; esac

count() { (cat "${@/#/"$output/mutants.out/"}" 2>/dev/null || true) | wc -l; }
caught="$(count caught.txt timeout.txt)" missed="$(count missed.txt)"
[ "$((caught + missed))" -gt 0 ] || { echo "no mutant in a file named *$only*" >&2; exit 1; }
echo "$caught of $((caught + missed)) mutants are caught; $(count unviable.txt) more do not compile"
if [ "$((caught * 100))" -lt "$(((caught + missed) * at_least))" ]; then
  echo "That is less than $at_least %. Write tests that fail with the mutants in $output/mutants.out/missed.txt" >&2
  exit 1
fi

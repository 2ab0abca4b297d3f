#!/usr/bin/env bash
# structured-merge-diff 6.3.3 (Go, what kube-apiserver merges server-side applies with) drops a list of type set that is
# applied empty: the field is gone, as if it had never been written.
#
# Somebody applies [a, b] and then [] server-side. With elementRelationship atomic (x-kubernetes-list-type: atomic in a
# CRD) the object then holds []. With associative (x-kubernetes-list-type: set) it holds no such field at all. A client-side
# apply and a merge patch store [] in both. Where the schema has a default, the API server then fills that in again.
# Seen: after "set: [], atomic: []" the object is "atomic: []" alone.
#
# For a mail operator: in a custom resource a list that is left out often means "leave it as it is on the mail server", and an
# empty one "take everything away". With type set, a GitOps tool that applies server-side can't revoke the last address
# that a mailbox may send as: the object no longer says anything, and the right stays. Declare such lists atomic.
#
# Fails when structured-merge-diff no longer does this.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
export GOPATH="$folder/go" GOFLAGS="-mod=mod -modcacherw"
cd "$folder"

cat >go.mod <<'MOD'
module finding

go 1.24

require sigs.k8s.io/structured-merge-diff/v6 v6.3.3
MOD

cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/merge"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

const schema = typed.YAMLObject(`
types:
- name: spec
  map:
    fields:
    - {name: set, type: {list: {elementType: {scalar: string}, elementRelationship: associative}}}
    - {name: atomic, type: {list: {elementType: {scalar: string}, elementRelationship: atomic}}}
`)

// There is one version only.
type same struct{}

func (same) Convert(object *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return object, nil
}

func (same) IsMissingVersionError(error) bool { return false }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	parser, err := typed.NewParser(schema)
	check(err)
	read := func(text string) *typed.TypedValue {
		value, err := parser.Type("spec").FromYAML(typed.YAMLObject(text))
		check(err)
		return value
	}
	updater := &merge.Updater{Converter: same{}}
	live, managers := read("{}"), fieldpath.ManagedFields{}
	for _, applied := range []string{"{set: [a, b], atomic: [a, b]}", "{set: [], atomic: []}"} {
		after, owners, err := updater.Apply(live, read(applied), "v1", managers, "a-person", false)
		check(err)
		if after != nil {
			live = after
		}
		managers = owners
		fmt.Println("applied", applied, "shows", live.AsValue().Unstructured())
	}
	if fmt.Sprint(live.AsValue().Unstructured()) != "map[atomic:[]]" {
		os.Exit(1)
	}
}
GO
go run .
echo "as described"

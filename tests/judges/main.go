// Command judges says what the tools that people deploy with make of Kubernetes objects, each by its own code: kstatus
// (as in `kustomize`, `kpt` and Helm's `--wait`), Flux, and Argo CD with the health checks that its settings hold.
//
//	judges argocd-cm.yaml kustomization.yaml < objects.json > verdicts.json
//
// It reads a JSON list of objects and writes the list of their verdicts, in the same order. argocd-cm.yaml is the
// ConfigMap with Argo CD's settings, kustomization.yaml a Flux Kustomization whose `healthCheckExprs` count.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// verdict is what one tool says of one object.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// verdicts is what all of them say.
type verdicts struct {
	Kstatus verdict `json:"kstatus"`
	// Flux with `wait: true` or `healthChecks` alone.
	Flux verdict `json:"flux"`
	// FluxExprs is Flux with the Kustomization's `healthCheckExprs`; null where none is for the kind.
	FluxExprs *verdict `json:"fluxExprs"`
	Argocd    verdict  `json:"argocd"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "judges:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: judges argocd-cm.yaml kustomization.yaml < objects.json")
	}
	var argocd settings
	if err := read(os.Args[1], &argocd); err != nil {
		return err
	}
	var kustomization kustomization
	if err := read(os.Args[2], &kustomization); err != nil {
		return err
	}
	flux, err := newFlux(kustomization)
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return fmt.Errorf("reading objects: %w", err)
	}
	said := make([]verdicts, 0, len(objects))
	for _, object := range objects {
		one, err := judge(object, argocd, flux)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		said = append(said, one)
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

func judge(object *unstructured.Unstructured, argocd settings, flux *flux) (said verdicts, err error) {
	computed, err := status.Compute(object)
	if err != nil {
		return said, err
	}
	said.Kstatus = verdict{computed.Status.String(), computed.Message}
	if said.Flux, err = flux.judge(object); err != nil {
		return said, err
	}
	if said.FluxExprs, err = flux.judgeByExprs(object); err != nil {
		return said, err
	}
	said.Argocd, err = argocd.judge(object)
	return said, err
}

func read(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

package main

import (
	"context"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/statusreaders"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kustomization is what counts of a Flux Kustomization.
type kustomization struct {
	Spec struct {
		HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
	} `json:"spec"`
}

// flux reads an object's health as kustomize-controller does. It waits until every object is Current, and gives up at
// the first that is Failed.
type flux struct {
	plain engine.StatusReader
	exprs engine.StatusReader
}

func newFlux(of kustomization) (*flux, error) {
	exprs, err := cel.NewStatusReader(of.Spec.HealthCheckExprs)
	if err != nil {
		return nil, err
	}
	return &flux{plain: statusreaders.NewGenericStatusReader(nil, status.Compute), exprs: exprs(nil)}, nil
}

func (f *flux) judge(object *unstructured.Unstructured) (verdict, error) {
	return readStatus(f.plain, object)
}

func (f *flux) judgeByExprs(object *unstructured.Unstructured) (*verdict, error) {
	kind := schema.FromAPIVersionAndKind(object.GetAPIVersion(), object.GetKind()).GroupKind()
	if !f.exprs.Supports(kind) {
		return nil, nil
	}
	said, err := readStatus(f.exprs, object)
	return &said, err
}

func readStatus(reader engine.StatusReader, object *unstructured.Unstructured) (verdict, error) {
	read, err := reader.ReadStatusForObject(context.Background(), nil, object)
	if err != nil {
		return verdict{}, err
	}
	return verdict{read.Status.String(), read.Message}, read.Error
}

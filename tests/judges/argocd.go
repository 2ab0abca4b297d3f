package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

// settings is the ConfigMap argocd-cm.
type settings struct {
	Data map[string]string `json:"data"`
}

// judge follows gitops-engine's health.GetResourceHealth and argo-cd's util/lua: what is being deleted progresses,
// everything else is for the script of its kind, and what has none counts as healthy.
func (s settings) judge(object *unstructured.Unstructured) (verdict, error) {
	if object.GetDeletionTimestamp() != nil {
		return verdict{"Progressing", "Pending deletion"}, nil
	}
	kind := object.GroupVersionKind()
	script, found := s.Data[fmt.Sprintf("resource.customizations.health.%s_%s", kind.Group, kind.Kind)]
	if !found {
		return verdict{"Healthy", "no health check"}, nil
	}
	said, err := runLua(object, script)
	if err != nil {
		return verdict{}, fmt.Errorf("the health check: %w", err)
	}
	switch said.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended":
		return said, nil
	default:
		return verdict{}, fmt.Errorf("the health check returned the status %q", said.Status)
	}
}

// runLua gives the script what Argo CD gives it where useOpenLibs is not set: the object, and no more than the
// libraries package, base, table and some of os (which is left out here).
func runLua(object *unstructured.Unstructured, script string) (said verdict, err error) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return said, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.SetContext(ctx)
	value, err := object.MarshalJSON()
	if err != nil {
		return said, err
	}
	decoded, err := luajson.Decode(l, value)
	if err != nil {
		return said, err
	}
	l.SetGlobal("obj", decoded)
	if err := l.DoString(script); err != nil {
		return said, err
	}
	returned, err := luajson.Encode(l.Get(-1))
	if err != nil {
		return said, err
	}
	return said, json.Unmarshal(returned, &said)
}

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

// health is what a script returns.
type health struct {
	verdict
	DeletionMessage string `json:"deletionMessage"`
}

// judge follows gitops-engine's health.GetResourceHealth and argo-cd's util/lua of Argo CD 3.6: the script of its kind
// decides, and what has none counts as healthy. What is being deleted progresses unless the script says deletionMessage;
// older versions do not ask the script then.
func (s settings) judge(object *unstructured.Unstructured) (verdict, error) {
	kind := object.GroupVersionKind()
	script, found := s.Data[fmt.Sprintf("resource.customizations.health.%s_%s", kind.Group, kind.Kind)]
	said := health{verdict: verdict{"Healthy", "no health check"}}
	if found {
		var err error
		if said, err = runLua(object, script); err != nil {
			return verdict{}, fmt.Errorf("the health check: %w", err)
		}
	}
	switch said.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended":
	default:
		return verdict{}, fmt.Errorf("the health check returned the status %q", said.Status)
	}
	switch {
	case object.GetDeletionTimestamp() == nil:
		return said.verdict, nil
	case said.DeletionMessage != "":
		return verdict{said.Status, said.DeletionMessage}, nil
	default:
		return verdict{"Progressing", "Pending deletion"}, nil
	}
}

// runLua gives the script what Argo CD gives it where useOpenLibs is not set: the object, and no more than the
// libraries package, base, table and some of os (which is left out here).
func runLua(object *unstructured.Unstructured, script string) (said health, err error) {
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

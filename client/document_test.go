package client_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"callbackd/client"
)

// operations returns the operations of the API's document, such as "GET /v1/events/{id}".
func operations(t *testing.T) (out []string) {
	t.Helper()
	raw, err := os.ReadFile("../internal/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths {
		for method := range item {
			if method = strings.ToUpper(method); method != "PARAMETERS" {
				out = append(out, method+" "+path)
			}
		}
	}
	slices.Sort(out)
	return out
}

// operationOf returns the operation that a call makes: of those that fit, the one with the
// fewest parameters. It is empty when none fits.
func operationOf(operations []string, call string) (best string) {
	parts := strings.Split(call, "/")
	for _, op := range operations {
		fits := func() bool {
			have := strings.Split(op, "/")
			if len(have) != len(parts) {
				return false
			}
			for i, p := range have {
				if p != parts[i] && (!strings.HasPrefix(p, "{") || parts[i] == "") {
					return false
				}
			}
			return true
		}
		if fits() && (best == "" || strings.Count(op, "{") < strings.Count(best, "{")) {
			best = op
		}
	}
	return best
}

// Each operation of the document has a method, and each method makes a call that the
// document has.
func TestEveryOperationHasAMethod(t *testing.T) {
	ops := operations(t)
	if len(ops) < 100 {
		t.Fatalf("the document has %d operations", len(ops))
	}
	var mu sync.Mutex
	var calls []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls = append(calls, r.Method+" "+r.URL.Path)
		mu.Unlock()
		w.WriteHeader(http.StatusBadRequest) // no method repeats a call after it
	}))
	defer web.Close()

	made := map[string][]string{}
	for _, c := range []any{&client.Client{Base: web.URL}, &client.Admin{Base: web.URL}, &client.Server{Base: web.URL}} {
		v := reflect.ValueOf(c)
		for i := range v.NumMethod() {
			name := v.Elem().Type().Name() + "." + v.Type().Method(i).Name
			if strings.HasSuffix(name, ".Do") {
				continue
			}
			calls = nil
			out := v.Method(i).Call(arguments(t.Context(), v.Method(i).Type()))
			if err, _ := out[len(out)-1].Interface().(error); err == nil || !strings.HasPrefix(err.Error(), "400") {
				t.Errorf("%s: the error of an answer with the status 400 is %v", name, err)
			}
			if len(calls) != 1 {
				t.Errorf("%s makes the calls %q, want one", name, calls)
				continue
			}
			op := operationOf(ops, calls[0])
			if op == "" {
				t.Errorf("%s calls %s, which the document does not have", name, calls[0])
			}
			made[op] = append(made[op], name)
		}
	}
	for _, op := range ops {
		if len(made[op]) == 0 {
			t.Errorf("no method calls %s", op)
		}
	}
}

// arguments returns what a method can be called with. Texts and numbers are not empty, so
// that each is a part of the path or the query.
func arguments(ctx context.Context, method reflect.Type) (in []reflect.Value) {
	for i := range method.NumIn() {
		typ := method.In(i)
		v := reflect.New(typ).Elem()
		switch {
		case typ == reflect.TypeFor[context.Context]():
			v.Set(reflect.ValueOf(ctx))
		case typ == reflect.TypeFor[time.Duration]():
			v.SetInt(int64(time.Second))
		case typ.Kind() == reflect.String:
			v.SetString("x")
		case v.CanInt():
			v.SetInt(1)
		}
		in = append(in, v)
	}
	return in
}

// A path that two operations fit is that of the one without parameters.
func TestACallIsOfTheOperationWithTheFewestParameters(t *testing.T) {
	ops := []string{"POST /a/{b}/c", "POST /a/x/c", "GET /a/{b}"}
	for call, want := range map[string]string{"POST /a/x/c": ops[1], "POST /a/y/c": ops[0], "GET /a/x": ops[2], "GET /a/": "", "PUT /a/x": ""} {
		if got := operationOf(ops, call); got != want {
			t.Errorf("%s is of %q, want %q", call, got, want)
		}
	}
}

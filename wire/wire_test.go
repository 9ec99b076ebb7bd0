package wire_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"callbackd/wire"

	"pgregory.net/rapid"
)

func TestHeadersKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := wire.Headers{}
		for _, name := range rapid.SliceOfDistinct(rapid.String(), rapid.ID[string]).Draw(t, "names") {
			h = append(h, wire.Header{Name: name, Value: rapid.String().Draw(t, "value")})
		}
		raw, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var back wire.Headers
		if err := json.Unmarshal(raw, &back); err != nil || !slices.Equal(h, back) {
			t.Fatalf("%s reads back as %v, %v", raw, back, err)
		}
	})
}

func TestHeadersRefuseWhatIsNoObjectOfStrings(t *testing.T) {
	for _, s := range []string{`[]`, `"x"`, `{"a":1}`, `{"a":`, `7`} {
		var h wire.Headers
		if err := json.Unmarshal([]byte(s), &h); err == nil {
			t.Errorf("%s reads as %v", s, h)
		}
	}
}

// A list that is empty is an empty list: a member that is left out, or null,
// makes clients fail on the one day on which there is nothing.
func TestNoListIsLeftOutWhenItIsEmpty(t *testing.T) {
	requests := []string{"NewReplay"}
	seen := map[reflect.Type]bool{}
	var walk func(at string, typ reflect.Type)
	walk = func(at string, typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || slices.Contains(requests, typ.Name()) {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			kind := f.Type.Kind()
			if (kind == reflect.Slice || kind == reflect.Map) && strings.Contains(f.Tag.Get("json"), "omitempty") {
				t.Errorf("%s.%s is left out when it is empty", typ.Name(), f.Name)
			}
			walk(at+"."+f.Name, f.Type)
		}
	}
	for _, v := range []any{wire.CallbackList{}, wire.CallbackOne{}, wire.Policy{}, wire.Secret{}, wire.EventList{}, wire.DeliveryList{}, wire.SessionList{}, wire.SessionEventList{}, wire.SessionChange{},
		wire.ReplayList{}, wire.LogList{}, wire.Explanation{}, wire.EventExplanation{}} {
		walk("", reflect.TypeOf(v))
	}
}

package wire_test

import (
	"encoding/json"
	"slices"
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

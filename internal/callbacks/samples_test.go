package callbacks_test

import (
	"encoding/json"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/wire"
)

func TestEveryEventHasASample(t *testing.T) {
	texts := map[string]callbackd.EventType{}
	for _, typ := range callbackd.EventTypes {
		data := callbacks.SampleData(typ)
		if !strings.HasPrefix(string(data), "{") {
			t.Errorf("the sample of %s is %q, want an object", typ, data)
		}
		if !typ.IsNotice() {
			continue
		}
		var n wire.Notice
		if err := json.Unmarshal(data, &n); err != nil {
			t.Fatal(err)
		}
		if other, twice := texts[n.Text]; n.Text == "" || twice {
			t.Errorf("the sample of %s says %q, as does that of %q", typ, n.Text, other)
		}
		texts[n.Text] = typ
	}
}

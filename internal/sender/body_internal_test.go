package sender

import (
	"bytes"
	"testing"

	"callbackd"
	"callbackd/internal/strictjson"
)

// The short way to a body must say what the long way says, member for member.
func FuzzBodyIsTheSameByBothWays(f *testing.F) {
	for _, seed := range []string{`{}`, ` { } `, `{"a":1}`, "{\n \"a\" : 1.50 ,\t\"b\":{\"event\":2}}", `{"event":"x"}`, `{"\u0065vent":"x"}`, `{"session_key":1,"z":"event"}`, `{"a":"\\"}`} {
		f.Add([]byte(seed), "ACM-0123456789")
	}
	f.Fuzz(func(t *testing.T, data []byte, session string) {
		if _, err := strictjson.Object(data); err != nil {
			return
		}
		ev := &callbackd.Event{Type: callbackd.Complete, Session: session, Data: data}
		body, err := Body(ev, nil, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := strictjson.Object(body)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		want, err := bodyMembers(ev, []byte("{}"))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s has %d members, want %d, %v", body, len(got), len(want), err)
		}
		for i := range got {
			if got[i].Name != want[i].Name || !bytes.Equal(got[i].Value, want[i].Value) {
				t.Errorf("member %d of %s is %s: %s, want %s: %s", i, body, got[i].Name, got[i].Value, want[i].Name, want[i].Value)
			}
		}
	})
}

package sender

import (
	"bytes"
	"fmt"
	"testing"

	"callbackd"
)

// Attempts under way of one event send one body, as long as they are, when
// their payloads and fields are equal; small ones have their own.
func TestAttemptsOfAnEventShareTheirBody(t *testing.T) {
	var b bodies
	large := &callbackd.Event{ID: 7, Type: callbackd.Complete, Session: "S", Data: fmt.Appendf(nil, `{"x":"%s"}`, bytes.Repeat([]byte("a"), minShared))}
	less, err := callbackd.ParseFields("fields", []byte(`{"except":["nobody"]}`))
	if err != nil {
		t.Fatal(err)
	}
	var fields *callbackd.Fields
	take := func(ev *callbackd.Event, payload string) ([]byte, func()) {
		t.Helper()
		body, done, err := b.of(ev, fields, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := Body(ev, fields, []byte(payload)); err != nil || !bytes.Equal(body, want) {
			t.Fatalf("another body: %v", err)
		}
		return body, done
	}
	first, doneFirst := take(large, `{"p":1}`)
	second, doneSecond := take(large, `{"p":1}`)
	third, doneThird := take(large, `{"p":2}`)
	fields = less
	fourth, doneFourth := take(large, `{"p":1}`)
	fields = nil
	if &first[0] != &second[0] || &first[0] == &third[0] {
		t.Error("equal bodies are not shared, or others are")
	}
	if &first[0] == &fourth[0] {
		t.Error("a body with other fields is shared")
	}
	doneFourth()
	doneFirst()
	if again, done := take(large, `{"p":1}`); &again[0] != &second[0] {
		t.Error("a body that is in use is built again")
	} else {
		done()
	}
	doneSecond()
	doneThird()
	_, done := take(&callbackd.Event{ID: 8, Type: callbackd.Complete, Session: "S", Data: []byte("{}")}, "{}")
	done()
	if len(b.sent) != 0 {
		t.Errorf("%d bodies are kept", len(b.sent))
	}
}

package store_test

import (
	"testing"

	"callbackd"
	"callbackd/internal/store"
)

// A search compares the values of a reference, not how a JSON library spells them.
func TestASearchGoesByValue(t *testing.T) {
	for _, c := range []struct {
		reference, text string
		found           bool
	}{
		{`"MÜNCHEN-77"`, "MÜNCHEN-77", true}, {`"M\u00dcNCHEN-77"`, "MÜNCHEN-77", true}, {`"Mu\u0308nchen-77"`, "münchen", true}, {`"MÜNCHEN"`, "mu\u0308nchen", true},
		{`"Stra\u00dfe"`, "STRASSE", true}, {`"STRASSE"`, "straße", true}, {`"７７"`, "77", true}, {`"ﬁne"`, "fine", true}, {`"ΣΊΣΥΦΟΣ"`, "σίσυφος", true},
		{`"AB\/12"`, "AB/12", true}, {`"say \"hi\""`, `say "hi"`, true}, {`"\ud83d\ude00"`, "😀", true}, {`"a\tb"`, "a\tb", true},
		{`{"n": 7}`, "7", true}, {`{"n":7.0}`, "7", true}, {`{"n":7}`, "7.0", true}, {`{"n":1e3}`, "1000", true}, {`{"n":1000}`, "1e3", true}, {`"1E3"`, "1e3", true}, {`{"n":12.50}`, "12.5", true},
		{`{"a":{"b":["x",{"c":"deep"}]}}`, "deep", true}, {`{"order":"Z-9"}`, "order", true}, {`{"a":true}`, "true", true},
		{`{"order":"Z-9"}`, "u00dc", false}, {`"M\u00dcNCHEN"`, "u00dc", false}, {`"a\/b"`, `\/`, false}, {`{"a":"b"}`, `{"a`, false}, {`"x"`, "y", false}, {``, "x", false},
	} {
		s := &callbackd.Session{SessionKey: "ACM-0123456789", Vehicle: callbackd.Vehicle{VIN: "1HGCM82633A004352"}, Reference: []byte(c.reference)}
		old := "ACM-0123456789\n1HGCM82633A004352\n" + c.reference // as earlier versions wrote it
		for _, stored := range []string{store.SessionText(s), old} {
			if got := store.NewSearch(c.text).Finds(stored, s.Reference); got != c.found {
				t.Errorf("%q in %s: %v (stored as %q)", c.text, c.reference, got, stored)
			}
		}
		for _, text := range []string{"", "acm-0123456789", "0123", "1hgcm"} {
			if !store.NewSearch(text).Finds(store.SessionText(s), s.Reference) {
				t.Errorf("%q is not found", text)
			}
		}
	}
}

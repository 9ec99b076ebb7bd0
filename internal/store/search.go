package store

import (
	"bytes"
	"encoding/json"
	"strings"

	"callbackd"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// SearchText is a text as it is compared: in upper case, and with one spelling
// for what Unicode can spell in several ways.
func SearchText(text string) string {
	return strings.ToUpper(norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text))))
}

// byValue begins the text of a reference. What earlier versions wrote does not
// have it: the JSON as the client spelled it.
const byValue = "\x1f"

// SessionText is what [SessionQuery.Text] is looked for in: the session key, the
// VIN, and the reference by value, whatever the JSON library of the client
// escapes or how it spells a number.
func SessionText(s *callbackd.Session) string {
	return strings.ToUpper(s.SessionKey+"\n"+s.Vehicle.VIN+"\n") + referenceByValue(s.Reference)
}

func referenceByValue(reference []byte) string {
	if len(reference) == 0 {
		return ""
	}
	return byValue + SearchText(referenceText(reference))
}

// referenceText is the names and values of a reference, one a line.
func referenceText(reference []byte) string {
	var text strings.Builder
	dec := json.NewDecoder(bytes.NewReader(reference))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil { // the end
			return text.String()
		}
		switch v := token.(type) {
		case string:
			text.WriteString(v + "\n")
		case json.Number:
			n, _ := callbackd.CanonicalNumber(v.String())
			text.WriteString(n + "\n")
		case bool:
			text.WriteString(map[bool]string{true: "true", false: "false"}[v] + "\n")
		}
	}
}

// Search is what a [SessionQuery] looks for in texts.
type Search struct{ any []string }

// NewSearch looks for a text; for a number also in the spelling that numbers of
// references have.
func NewSearch(text string) Search {
	if text == "" {
		return Search{}
	}
	s := Search{[]string{SearchText(text)}}
	if n, ok := callbackd.CanonicalNumber(strings.TrimSpace(text)); ok && n != text {
		s.any = append(s.any, SearchText(n))
	}
	return s
}

// Finds tells whether a session is found. stored is its SessionText as it was
// written, perhaps by an earlier version.
func (s Search) Finds(stored string, reference []byte) bool {
	if len(s.any) == 0 {
		return true
	}
	if parts := strings.SplitN(stored, "\n", 3); len(parts) == 3 && !strings.HasPrefix(parts[2], byValue) {
		stored = parts[0] + "\n" + parts[1] + "\n" + referenceByValue(reference)
	}
	for _, text := range s.any {
		if strings.Contains(stored, text) {
			return true
		}
	}
	return false
}

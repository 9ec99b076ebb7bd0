package store

import (
	"bytes"
	"encoding/json"
	"strings"

	"callbackd"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// SearchText returns a text in the form in which texts are compared: in upper case, and
// with one spelling where Unicode has several.
func SearchText(text string) string {
	return strings.ToUpper(norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text))))
}

// byValue begins the text of a reference. Earlier versions wrote the JSON of the client
// instead, which does not begin with it.
const byValue = "\x1f"

// SessionText returns the text in which [SessionQuery.Text] is searched: the session
// key, the VIN and the values of the reference. It does not depend on how the client's
// JSON library escapes texts or spells numbers.
func SessionText(s *callbackd.Session) string {
	return strings.ToUpper(s.SessionKey+"\n"+s.Vehicle.VIN+"\n") + referenceByValue(s.Reference)
}

func referenceByValue(reference []byte) string {
	if len(reference) == 0 {
		return ""
	}
	return byValue + SearchText(referenceText(reference))
}

// referenceText returns the names and values of a reference, one on each line.
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

// Search finds the sessions that contain the Text of a [SessionQuery].
type Search struct{ any []string }

// NewSearch returns a search for a text. It finds a number also in the spelling that
// [SessionText] gives numbers.
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

// Finds reports whether a session contains the text. stored is its SessionText, perhaps
// written by an earlier version.
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

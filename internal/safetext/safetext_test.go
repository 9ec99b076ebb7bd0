package safetext_test

import (
	"encoding/json"
	"testing"

	"callbackd/internal/safetext"
)

func TestHiddenCharacters(t *testing.T) {
	for name, c := range map[string]struct {
		text              string
		visible           bool
		escaped, replaced string
	}{
		"plain":                    {"Zoë, 東京", true, "Zoë, 東京", "Zoë, 東京"},
		"lines and tabs":           {"a\n\tb", false, "a\n\tb", "a\n\tb"},
		"carriage return":          {"a\rb", false, `a\u000db`, "a\ufffdb"},
		"escape sequence":          {"\x1b[31m", false, `\u001b[31m`, "\ufffd[31m"},
		"control character of C1":  {"\u009b", false, `\u009b`, "\ufffd"},
		"writing direction":        {"\u202egpj.exe", false, `\u202egpj.exe`, "\ufffdgpj.exe"},
		"line separator":           {"a\u2028b", false, `a\u2028b`, "a\ufffdb"},
		"zero width":               {"zero\u200bwidth", false, `zero\u200bwidth`, "zero\ufffdwidth"},
		"outside the first plane":  {"\U000e0041", false, `\udb40\udc41`, "\ufffd"},
		"not UTF-8":                {"a\xffb", false, `a\ufffdb`, "a\ufffdb"},
		"no break space is a text": {"5\u00a0s", true, "5\u00a0s", "5\u00a0s"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := safetext.IsVisible(c.text); got != c.visible {
				t.Errorf("IsVisible(%q) is %v, want %v", c.text, got, c.visible)
			}
			if got := safetext.Escape(c.text); got != c.escaped {
				t.Errorf("Escape(%q) is %q, want %q", c.text, got, c.escaped)
			}
			if got := safetext.Replace(c.text); got != c.replaced {
				t.Errorf("Replace(%q) is %q, want %q", c.text, got, c.replaced)
			}
		})
	}
}

func TestEscapeKeepsTheMeaningOfJSON(t *testing.T) {
	const text = "{\"a\":\"\u202e\U000e0041\u200b\"}"
	var want, got any
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(safetext.Escape(text)), &got); err != nil {
		t.Fatal(err)
	}
	w, _ := json.Marshal(want)
	g, _ := json.Marshal(got)
	if string(w) != string(g) {
		t.Errorf("the escaped text means %s, want %s", g, w)
	}
}

func TestClipCountsCharacters(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"東京都", 2, "東京…"},
	} {
		if got := safetext.Clip(c.text, c.n); got != c.want {
			t.Errorf("Clip(%q, %d) is %q, want %q", c.text, c.n, got, c.want)
		}
	}
}

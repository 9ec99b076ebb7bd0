package console_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/console"
)

// colourPairs are the colours of text with those that may be behind it, and the
// least contrast of the two (WCAG 2.2, 1.4.3). What is no text but must be seen
// needs less (1.4.11).
var colourPairs = []struct {
	over   string
	behind []string
	least  float64
}{
	{"text", []string{"bg", "surface", "sunken", "accent-soft"}, 4.5},
	{"muted", []string{"bg", "surface", "sunken"}, 4.5},
	{"accent", []string{"bg", "surface", "accent-soft"}, 4.5},
	{"on-accent", []string{"accent"}, 4.5},
	{"ok", []string{"ok-soft", "surface"}, 4.5},
	{"bad", []string{"bad-soft", "surface", "bg"}, 4.5},
	{"warn", []string{"warn-soft", "surface"}, 4.5},
	{"surface", []string{"text"}, 4.5}, // a primary button under the pointer
	{"strong-line", []string{"surface"}, 3},
}

func TestColoursContrast(t *testing.T) {
	light, dark, ok := strings.Cut(console.Stylesheet(), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark theme")
	}
	dark, _, _ = strings.Cut(dark, "\n}\n")
	for theme, css := range map[string]string{"light": light, "dark": dark} {
		colours := variables(css)
		for _, pair := range colourPairs {
			for _, behind := range pair.behind {
				if c := contrast(t, colours[pair.over], colours[behind]); c < pair.least {
					t.Errorf("%s: %s on %s has a contrast of %.2f, want at least %g", theme, pair.over, behind, c, pair.least)
				}
			}
		}
	}
}

func TestEveryColourIsAVariable(t *testing.T) {
	_, rules, _ := strings.Cut(console.Stylesheet(), "*, *::before")
	if m := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|rgb\(`).FindString(rules); m != "" {
		t.Errorf("the colour %s is not a variable", m)
	}
}

// variables returns the colours that a stylesheet names.
func variables(css string) map[string]string {
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		out[m[1]] = m[2]
	}
	return out
}

// contrast is the contrast ratio of two colours (WCAG 2.2).
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

// luminance is the relative luminance of a colour such as #1a2b3c (WCAG 2.2).
func luminance(t *testing.T, hex string) (sum float64) {
	t.Helper()
	if len(hex) != 7 {
		t.Fatalf("%q is not a colour", hex)
	}
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// hostile is what may come in every text a client or a receiver sends.
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>` + "\u202egnp.exe\u2066\u0007\u0000{{.}}"

// What receivers and clients send is shown as text, whatever it is: nothing
// of it becomes an element, reorders the text or breaks the page.
func TestWhatIsShownIsText(t *testing.T) {
	s := startSite(t)
	long := strings.Repeat("x", 100<<10)
	recv := newReceiver(t)
	recv.Answers(func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Evil", "<script>alert(1)</script>")
		w.Header().Set("Location", "javascript:alert(1)//"+hostile[:20])
		w.WriteHeader(http.StatusFound)
		fmt.Fprint(w, hostile, long)
	})
	c := s.Client(s.Key)
	if _, err := c.CreateCallback(context.Background(), client.NewCallback{Event: "SESSION:NOTE_INSERT", URL: recv.URL + "/?q=%3Cscript%3Ealert(1)%3C/script%3E", Retry: []string{"0s"},
		Headers: map[string]string{"X-Own": "<b>secret</b>"}, Payload: map[string]any{"x": hostile}}); err != nil {
		t.Fatal(err)
	}
	session := `<script>alert(1)</script>"'>`
	ev := s.Publish(s.Key, callbackd.NoteInsert, session, map[string]any{"note": map[string]any{"title": hostile, "description": long}, hostile: long})
	v := s.visitor(t).signIn(s.Key)
	id := "dlv_" + strings.TrimPrefix(ev, "evt_") + "-1"
	s.Await(func() bool {
		return strings.Contains(words(t, v.get("/console/deliveries/"+id)), "The only attempt failed")
	})
	for _, path := range []string{"/console/", "/console/callbacks", "/console/callbacks/1", "/console/callbacks/1/edit", "/console/callbacks/1/delete", "/console/callbacks/1/test", "/console/callbacks/1/secret", "/console/callbacks/1/auth",
		"/console/deliveries", "/console/deliveries?session=" + urlQuery(hostile), "/console/deliveries/" + id, "/console/sessions", "/console/sessions?q=" + urlQuery(hostile), "/console/search?q=" + urlQuery(hostile), "/console/search?q=script", "/console/sessions/" + urlPath(session), "/console/events/" + ev, "/console/logs?path=" + urlQuery(hostile)} {
		a := v.get(path)
		wellBuilt(t, path, a)
		for _, raw := range []string{"<script>alert", "<img src=x", "\u202e", "\u2066", "\u0007"} {
			if strings.Contains(a.body, raw) {
				t.Errorf("%s shows %q as it came", path, raw)
			}
		}
		if len(a.body) > 500<<10 {
			t.Errorf("%s has %d bytes", path, len(a.body))
		}
	}
}

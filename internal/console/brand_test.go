package console_test

import (
	"bytes"
	"image"
	"image/png"
	"regexp"
	"strings"
	"testing"

	"callbackd/internal/console"

	"pgregory.net/rapid"
)

// pixels returns a PNG image of a size.
func pixels(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, size, 1))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBrandsAreChecked(t *testing.T) {
	svg := func(inner string) []byte {
		return []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">` + inner + `</svg>`)
	}
	for name, c := range map[string]struct {
		name   string
		logo   []byte
		colour string
		want   string // of the error; empty for none
	}{
		"nothing":           {},
		"all":               {"Acme Überprüfung", svg(`<defs><linearGradient id="a"/></defs><path fill="url(#a)" d="M0 0"/><use href="#a"/>`), "#1A2b3c", ""},
		"a PNG":             {"", pixels(t, 9), "", ""},
		"a hidden letter":   {"a\u202eb", nil, "", "the name must be"},
		"a long name":       {strings.Repeat("x", 41), nil, "", "the name must be"},
		"a colour's name":   {"", nil, "red", "is not one such as"},
		"a short colour":    {"", nil, "#fff", "is not one such as"},
		"a colour and CSS":  {"", nil, "#1a2b3c;} x{", "is not one such as"},
		"a wide PNG":        {"", pixels(t, 3000), "", "3000 by 1 pixels"},
		"a cut PNG":         {"", pixels(t, 9)[:40], "", "PNG image that can be shown"},
		"a large file":      {"", make([]byte, console.MaxLogo+1), "", "at most"},
		"HTML":              {"", []byte("<html></html>"), "", "does not begin with svg"},
		"text":              {"", []byte("hello"), "", "it is empty"},
		"a script":          {"", svg("<script>alert(1)</script>"), "", "the element script"},
		"a foreign object":  {"", svg("<foreignObject/>"), "", "the element foreignObject"},
		"an image":          {"", svg(`<image href="https://evil.example/x.png"/>`), "", "the element image"},
		"a style":           {"", svg(`<style>@import "x"</style>`), "", "the element style"},
		"a handler":         {"", svg(`<g onload="alert(1)"/>`), "", "an event handler"},
		"a link elsewhere":  {"", svg(`<use href="https://evil.example/#a"/>`), "", "leads elsewhere"},
		"an xlink":          {"", svg(`<use xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="data:x"/>`), "", "leads elsewhere"},
		"a paint elsewhere": {"", svg(`<path fill="url(https://evil.example/#a)"/>`), "", "leads elsewhere"},
		"an entity":         {"", []byte(`<!DOCTYPE svg [<!ENTITY a "b">]><svg/>`), "", "document type"},
		"a stylesheet":      {"", []byte(`<?xml-stylesheet href="https://evil.example/x.css"?><svg/>`), "", "processing instruction"},
	} {
		_, err := console.NewBrand(c.name, c.logo, c.colour)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// The text on any colour can be read.
func TestTheTextOnAColourContrasts(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		colour := rapid.StringMatching("#[0-9a-f]{6}").Draw(r, "colour")
		sheet := console.ColourSheet(colour)
		m := regexp.MustCompile(`--accent: (#[0-9a-f]{6}); --on-accent: (#[0-9a-f]{6})`).FindStringSubmatch(sheet)
		if m == nil || m[1] != colour {
			r.Fatalf("%s gives %s", colour, sheet)
		}
		if c := contrast(t, m[1], m[2]); c < 4.5 {
			r.Fatalf("%s on %s has a contrast of %.2f", m[2], m[1], c)
		}
	})
}

// The console has the name, the logo and the colour on every page, and a logo that is opened
// by itself runs nothing.
func TestTheBrandIsShown(t *testing.T) {
	s := startSite(t)
	s.Stop()
	var err error
	if s.Console.Brand, err = console.NewBrand("Acme <Inspect>", []byte(`<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>`), "#aa0033"); err != nil {
		t.Fatal(err)
	}
	s.Start()
	v := s.visitor(t)
	for _, path := range []string{"/console/sign-in", "/console/", "/console/nothing"} {
		a := v.get(path)
		if !strings.Contains(a.body, ">Acme &lt;Inspect&gt;<") || strings.Contains(a.body, "<Inspect>") || !strings.Contains(a.body, "brand.css") || !strings.Contains(a.body, "logo.svg") {
			t.Errorf("%s lacks the brand", path)
		}
		if path == "/console/sign-in" {
			v.operator()
		}
	}
	logo := v.get(s.Console.Brand.Logo)
	if got := logo.Header.Get("Content-Security-Policy"); logo.Header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(got, "default-src 'none'") || !strings.Contains(got, "sandbox") || logo.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the logo is served with %v", logo.Header)
	}
	if sheet := v.get(s.Console.Brand.Sheet); !strings.Contains(sheet.body, "--accent: #aa0033") {
		t.Errorf("the stylesheet is %q", sheet.body)
	}
}

package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/safetext"
)

// Brand is how the console looks: its name, its logo and the colour of its buttons. The zero
// value is callbackd's own.
type Brand struct {
	Name  string
	Logo  string // address of the logo; empty: callbackd's
	Sheet string // address of the stylesheet with the colour; empty: none
	files map[string]brandFile
}

// brandFile is a file that is served at an address of its own.
type brandFile struct {
	name, contentType string
	body              []byte
}

// Limits of a [Brand].
const (
	maxBrandName = 40 // bytes
	// MaxLogo is how many bytes a logo may have.
	MaxLogo       = 256 << 10
	maxLogoPixels = 2048
)

// NewBrand checks a name, a logo in PNG or SVG, and a colour such as #1a2b3c. Each may be
// empty.
func NewBrand(name string, logo []byte, colour string) (Brand, error) {
	b := Brand{Name: name, files: map[string]brandFile{}}
	if !safetext.IsVisible(name) || len(name) > maxBrandName {
		return b, fmt.Errorf("the name must be up to %d bytes of printable text", maxBrandName)
	}
	if len(logo) > 0 {
		kind, err := logoType(logo)
		if err != nil {
			return b, err
		}
		b.Logo = b.add(brandFile{"logo" + map[string]string{"image/png": ".png", "image/svg+xml": ".svg"}[kind], kind, logo})
	}
	if colour != "" {
		sheet, err := colourSheet(colour)
		if err != nil {
			return b, err
		}
		b.Sheet = b.add(brandFile{"brand.css", staticTypes[".css"], []byte(sheet)})
	}
	return b, nil
}

// add returns the address of a file, which has a hash of its content in it.
func (b *Brand) add(f brandFile) string {
	sum := sha256.Sum256(f.body)
	at := link("static", hex.EncodeToString(sum[:6]), f.name)
	b.files[at] = f
	return at
}

// logoType returns the type of a logo. It refuses an SVG that does more than to draw.
func logoType(raw []byte) (string, error) {
	if len(raw) > MaxLogo {
		return "", fmt.Errorf("the logo has %d bytes; at most %d are allowed", len(raw), MaxLogo)
	}
	if bytes.HasPrefix(raw, []byte("\x89PNG\r\n")) {
		size, err := png.DecodeConfig(bytes.NewReader(raw))
		if err == nil && (size.Width > maxLogoPixels || size.Height > maxLogoPixels) {
			err = fmt.Errorf("it has %d by %d pixels; at most %d are allowed", size.Width, size.Height, maxLogoPixels)
		}
		if err == nil {
			_, err = png.Decode(bytes.NewReader(raw))
		}
		if err != nil {
			return "", fmt.Errorf("the logo is not a PNG image that can be shown: %w", err)
		}
		return "image/png", nil
	}
	if err := checkSVG(raw); err != nil {
		return "", fmt.Errorf("the logo is neither a PNG image nor an SVG image that only draws: %w", err)
	}
	return "image/svg+xml", nil
}

// drawing are the elements that an SVG may have: none that runs, loads, links or animates.
var drawing = map[string]bool{
	"svg": true, "g": true, "defs": true, "title": true, "desc": true, "symbol": true, "use": true, "path": true, "rect": true, "circle": true, "ellipse": true, "line": true,
	"polyline": true, "polygon": true, "text": true, "tspan": true, "linearGradient": true, "radialGradient": true, "stop": true, "clipPath": true, "mask": true, "metadata": true,
}

func checkSVG(raw []byte) error {
	dec := xml.NewDecoder(bytes.NewReader(raw))
	for root := true; ; {
		t, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF):
			if root {
				return errors.New("it is empty")
			}
			return nil
		case err != nil:
			return err
		}
		switch e := t.(type) {
		case xml.Directive:
			return errors.New("it has a document type")
		case xml.ProcInst:
			if e.Target != "xml" {
				return errors.New("it has a processing instruction")
			}
		case xml.StartElement:
			if root && e.Name.Local != "svg" {
				return errors.New("it does not begin with svg")
			}
			root = false
			if err := checkElement(&e); err != nil {
				return err
			}
		}
	}
}

func checkElement(e *xml.StartElement) error {
	if !drawing[e.Name.Local] {
		return fmt.Errorf("it has the element %s", safetext.Clip(safetext.Escape(e.Name.Local), 40))
	}
	for _, a := range e.Attr {
		name, value := strings.ToLower(a.Name.Local), strings.ToLower(a.Value)
		switch {
		case strings.HasPrefix(name, "on"):
			return errors.New("it has an event handler")
		case name == "href" && !strings.HasPrefix(value, "#"), strings.Contains(value, "url(") && !strings.Contains(value, "url(#"), strings.Contains(value, "@import"), strings.Contains(value, "javascript:"):
			return fmt.Errorf("its attribute %s leads elsewhere", safetext.Clip(safetext.Escape(a.Name.Local), 40))
		}
	}
	return nil
}

// colourSheet returns the stylesheet for a colour. The text on it is black or white, whichever
// is easier to read: one of them always has the contrast that WCAG 2.2 asks for.
func colourSheet(colour string) (string, error) {
	channels, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil || len(colour) != len("#rrggbb") || colour[0] != '#' {
		return "", fmt.Errorf("the colour %q is not one such as #1a2b3c", safetext.Clip(safetext.Escape(colour), 20))
	}
	text := "#ffffff"
	if l := luminance(channels); (l+.05)/.05 > 1.05/(l+.05) {
		text = "#000000"
	}
	return fmt.Sprintf(".primary { --accent: %s; --on-accent: %s; }\n.side { border-top: 4px solid %s; }\n", strings.ToLower(colour), text, strings.ToLower(colour)), nil
}

// luminance is the relative luminance of a colour (WCAG 2.2).
func luminance(rgb uint64) (sum float64) {
	for i, weight := range []float64{.0722, .7152, .2126} {
		c := float64(rgb>>(8*i)&0xff) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// logoPolicy is the content security policy of a logo that is opened by itself.
const logoPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

// serve answers with a file of the brand. It reports whether there is one.
func (b *Brand) serve(w http.ResponseWriter, r *http.Request) bool {
	f, ok := b.files[r.URL.Path]
	if !ok {
		return false
	}
	w.Header().Set("Content-Type", f.contentType)
	if path.Ext(f.name) != ".css" {
		w.Header().Set("Content-Security-Policy", logoPolicy)
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(f.body)
	return true
}

// Label returns the name of the console.
func (b Brand) Label() string {
	if b.Name == "" {
		return "callbackd"
	}
	return b.Name
}

// Image returns the address of the logo.
func (b Brand) Image() string {
	if b.Logo == "" {
		return assets["icon.svg"]
	}
	return b.Logo
}

// returnLabel names where a link leads back.
func returnLabel(to string) string {
	_, host, _ := strings.Cut(callbackd.Origin(to), "://")
	return host
}

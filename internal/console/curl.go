package console

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/safetext"
	"callbackd/wire"
)

type curlPage struct {
	base
	D       wire.Delivery
	Attempt int
	Curl    string
}

// curlPage shows the request of an attempt as a command that works: with all headers in
// full and a new signature, because a receiver refuses an old one. It is a page of its
// own, so that no other page has these secrets.
func (c *Console) curlPage(w http.ResponseWriter, req *userRequest) error {
	id, cb, err := c.deliveryFromPath(req)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(req.URL.Query().Get("attempt"))
	if err != nil || n < 1 || n >= math.MaxInt32 {
		return errPageNotFound
	}
	d, err := c.Store.Delivery(req.Context(), cb.Key, id, n+1)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errPageNotFound
	}
	if err != nil {
		return err
	}
	at := slices.IndexFunc(d.History, func(a callbackd.Attempt) bool { return a.Number == n })
	if at < 0 {
		return errPageNotFound
	}
	sent, err := c.Store.CallbackVersion(req.Context(), id.Callback, d.History[at].Version)
	if err != nil {
		return err
	}
	preview, err := c.Preview(sent, d.Event, n, c.now())
	if err != nil {
		return err
	}
	p := &curlPage{base: c.base(req, "deliveries", "Copy as curl"), Attempt: n, Curl: curl(preview)}
	p.D = wire.Delivery{ID: id.String(), Event: string(d.Event.Type)}
	return c.render(w, http.StatusOK, "delivery-curl", p)
}

// expectFrom is the size of a body from which on curl asks the server with
// "Expect: 100-continue" before it sends the body.
const expectFrom = 1 << 10

// curl writes a request as a command for bash.
func curl(r *callbackd.Request) string {
	var b strings.Builder
	b.WriteString("curl --include --globoff --path-as-is --http1.1 --request " + r.Method + " " + quote(r.URL.String()))
	for _, h := range r.Headers {
		text := h.Name + ": " + h.Value.Reveal()
		if h.Value == "" {
			text = h.Name + ";" // makes curl send it empty
		}
		b.WriteString(" \\\n  --header " + quote(text))
	}
	if len(r.Body) > expectFrom {
		b.WriteString(" \\\n  --header 'Expect:'")
	}
	if r.Body != nil {
		b.WriteString(" \\\n  --data-binary " + quote(string(r.Body)))
	}
	return b.String()
}

// quote quotes a text for bash. Characters that would be invisible are written
// as their bytes.
func quote(s string) string {
	if safetext.Escape(s) == s {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteString("\\" + string(r))
		case safetext.IsHidden(r) || r == utf8.RuneError:
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, "\\x%02x", c)
			}
		default:
			b.WriteRune(r)
		}
		i += n
	}
	b.WriteString("'")
	return b.String()
}

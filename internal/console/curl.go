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
	"callbackd/wire"
)

type curlPage struct {
	base
	D       wire.Delivery
	Attempt int
	Curl    string
}

// curlPage shows the request of an attempt as a command that works: with its
// headers in full and signed anew, because a receiver refuses an old time. It
// is for those who may see the signing secret, and a page of its own, so that
// no other page holds what it shows.
func (c *Console) curlPage(w http.ResponseWriter, v *visit) error {
	id, cb, err := c.deliveryOf(v)
	if err != nil {
		return err
	}
	n, wrong := strconv.Atoi(v.URL.Query().Get("attempt"))
	if wrong != nil || n < 1 || n >= math.MaxInt32 {
		return errNoPage
	}
	view, err := c.Store.DeliveryBefore(v.Context(), cb.Key, id, n+1)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errNoPage
	}
	if err != nil {
		return err
	}
	at := slices.IndexFunc(view.History, func(a callbackd.Attempt) bool { return a.Number == n })
	if at < 0 {
		return errNoPage
	}
	sent, err := c.Store.CallbackVersion(v.Context(), id.Callback, view.History[at].Version)
	if err != nil {
		return err
	}
	req, err := c.Preview(sent, view.Event, n, c.now())
	if err != nil {
		return err
	}
	p := &curlPage{base: c.base(v, "deliveries", "Copy as curl"), Attempt: n, Curl: curl(req)}
	p.D = wire.Delivery{ID: id.String(), Event: string(view.Event.Type)}
	return c.render(w, http.StatusOK, "delivery-curl", p)
}

// expectFrom is from how many bytes on curl asks before it sends a body.
const expectFrom = 1 << 10

// curl writes a request as a command for bash.
func curl(r *callbackd.Request) string {
	var b strings.Builder
	b.WriteString("curl --include --globoff --path-as-is --http1.1 --request " + r.Method + " " + quote(r.URL.String()))
	for _, h := range r.Headers {
		text := h.Name + ": " + h.Value.Reveal()
		if h.Value == "" {
			text = h.Name + ";" // so curl sends it empty
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

// quote quotes a text for bash. What would hide in it is written by its bytes.
func quote(s string) string {
	if clean(s) == s {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteString("\\" + string(r))
		case hidden(r) || r == utf8.RuneError:
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

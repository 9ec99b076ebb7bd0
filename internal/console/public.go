package console

import (
	"net/http"
	"net/url"
	"strings"

	"callbackd/internal/front"
)

// Base is the path below which the server is reached, without a slash at its
// end; empty when it is reached at the root.
func Base(public *url.URL) string {
	if public == nil {
		return ""
	}
	return strings.TrimSuffix(public.Path, "/")
}

// outward puts the path of the public URL before the links of a page: all that
// [link] made. These attributes hold nothing else that begins with Root, and
// text that others wrote cannot look like one of them, because a quotation mark
// in it is escaped.
func (c *Console) outward(page string) string {
	base := Base(c.Public)
	if base == "" {
		return page
	}
	var pairs []string
	for _, name := range []string{"href", "action", "src", "data-stream", "data-watch"} {
		pairs = append(pairs, " "+name+`="`+Root+"/", " "+name+`="`+base+Root+"/")
	}
	return strings.NewReplacer(pairs...).Replace(page)
}

// secure tells whether the visitor's browser speaks TLS, so that its cookie
// may be kept from everything else.
func (c *Console) secure(r *http.Request) bool {
	return front.Secure(r) || c.Public != nil && c.Public.Scheme == "https" && strings.EqualFold(r.Host, c.Public.Host)
}

// sameOrigin lets through what does not come from another site: forms by the
// browser's word, or by the origin that is asked for or the public one.
func (c *Console) sameOrigin(h http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	if c.Public != nil {
		if err := p.AddTrustedOrigin(c.Public.Scheme + "://" + c.Public.Host); err != nil {
			c.Log.Error("the public URL is no origin", "error", err) // it was checked at the start
		}
	}
	p.SetDenyHandler(http.HandlerFunc(c.fromElsewhere))
	return p.Handler(h)
}

type elsewherePage struct {
	base
	Origin, Host string
}

// fromElsewhere refuses a form that seems to come from another site, and says
// what a proxy must pass on so that it does not seem so.
func (c *Console) fromElsewhere(w http.ResponseWriter, r *http.Request) {
	c.refused.warn(c.now(), c.Log, r, "form of another origin", false)
	p := &elsewherePage{base: c.doorBase("Refused"), Origin: clean(clip(r.Header.Get("Origin"), 100)), Host: clean(clip(r.Host, 100))}
	if err := c.render(w, http.StatusForbidden, "elsewhere", p); err != nil {
		c.fail(w, r, nil, err)
	}
}

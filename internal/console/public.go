package console

import (
	"net/http"
	"net/url"
	"strings"

	"callbackd/internal/front"
	"callbackd/internal/safetext"
)

// Base returns the path of the public URL without a slash at its end. It is
// empty when the server is reached at the root.
func Base(public *url.URL) string {
	if public == nil {
		return ""
	}
	return strings.TrimSuffix(public.Path, "/")
}

// addPublicPath puts the path of the public URL before the links of a page. All
// of them come from [link], except that to the documents. Replacing text is safe: no other attribute of these
// names begins with Root, and text that others wrote cannot look like one,
// because quotation marks in it are escaped.
func (c *Console) addPublicPath(page string) string {
	base := Base(c.Public)
	if base == "" {
		return page
	}
	var pairs []string
	for _, name := range []string{"href", "action", "src", "data-stream", "data-watch"} {
		pairs = append(pairs, " "+name+`="`+Root+"/", " "+name+`="`+base+Root+"/")
	}
	pairs = append(pairs, ` href="/docs`, ` href="`+base+`/docs`)
	return strings.NewReplacer(pairs...).Replace(page)
}

// secure reports whether the browser reached the server with TLS. Its cookie is
// then marked Secure.
func (c *Console) secure(r *http.Request) bool {
	if front.Secure(r) {
		return true
	}
	return c.Public != nil && c.Public.Scheme == "https" && strings.EqualFold(r.Host, c.Public.Host)
}

// sameOrigin refuses forms that another site made the browser send. The public
// URL is an origin of this server too.
func (c *Console) sameOrigin(h http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	if c.Public != nil {
		if err := p.AddTrustedOrigin(c.Public.Scheme + "://" + c.Public.Host); err != nil {
			c.Log.Error("the public URL is not an origin", "error", err) // the start checks it
		}
	}
	p.SetDenyHandler(http.HandlerFunc(c.refuseCrossOrigin))
	return p.Handler(h)
}

type crossOriginPage struct {
	base
	Origin, Host string
}

// refuseCrossOrigin refuses a form of another site. The page says what a proxy
// must pass on when the form is from this site after all.
func (c *Console) refuseCrossOrigin(w http.ResponseWriter, r *http.Request) {
	c.logRefusal(r, "form of another origin", false)
	p := &crossOriginPage{
		base:   c.signedOutBase("Refused"),
		Origin: safetext.Escape(safetext.Clip(r.Header.Get("Origin"), 100)),
		Host:   safetext.Escape(safetext.Clip(r.Host, 100)),
	}
	if err := c.render(w, http.StatusForbidden, "cross-origin", p); err != nil {
		c.fail(w, r, nil, err)
	}
}

package callbackd

import (
	"net/url"
	"slices"
	"strings"
)

// scriptSchemes are the schemes that make a browser run or open what the URL
// itself holds. No redirect_url may have one.
var scriptSchemes = []string{"javascript", "data", "vbscript", "file"}

// CheckRedirect refuses a redirect_url that no client may give. It may be an
// http or https URL with a host, or have an app's scheme, such as
// myapp://done. Only http and https URLs may become links in a page.
func CheckRedirect(redirect string) error {
	u, err := url.Parse(redirect)
	switch {
	case err != nil || u.Scheme == "":
		return Errorf(KindInvalid, "redirect_url must be an absolute URL, such as https://example.com/done or myapp://done.")
	case slices.Contains(scriptSchemes, u.Scheme):
		return Errorf(KindInvalid, "redirect_url must not have the scheme %s:. Allowed are http, https and the schemes of apps; refused are %s.", u.Scheme, strings.Join(scriptSchemes, ", "))
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host == "":
		return Errorf(KindInvalid, "redirect_url must name a host after %s://.", u.Scheme)
	}
	return nil
}

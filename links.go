package callbackd

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// scriptSchemes are the schemes that make a browser run or open what the URL
// itself holds. ID redirect_url may have one.
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

// CaptureTemplate makes the link that a person opens to capture a session's
// photos: an http or https URL in which {account} and {session_key} stand for
// those of the session. Empty: there is no link.
type CaptureTemplate string

const (
	accountPlace = "{account}"
	sessionPlace = "{session_key}"
)

// ParseCaptureTemplate checks a template. The error does not name the setting.
func ParseCaptureTemplate(s string) (CaptureTemplate, error) {
	t := CaptureTemplate(s)
	rest := strings.NewReplacer(accountPlace, "", sessionPlace, "").Replace(s)
	u, err := url.Parse(t.fill("account", "ABC-0123456789"))
	switch {
	case len(s) > MaxURL:
		return "", Errorf(KindInvalid, "is longer than %d bytes", MaxURL)
	case strings.ContainsAny(rest, "{}"):
		return "", Errorf(KindInvalid, "has braces that are neither %s nor %s", accountPlace, sessionPlace)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || !isHost(u.Hostname()) || !isPort(u.Port()) || !isURLText(rest):
		return "", Errorf(KindInvalid, "is no absolute http or https URL; write for example https://%s.capture.example/%s", accountPlace, sessionPlace)
	case u.User != nil:
		return "", Errorf(KindInvalid, "must not hold a user or a password")
	case strings.Contains(t.host(), sessionPlace):
		return "", Errorf(KindInvalid, "has %s in the host, where capitals get lost; put it into the path, the query or the fragment", sessionPlace)
	case !strings.Contains(s, sessionPlace):
		return "", Errorf(KindInvalid, "lacks %s, so that every session would have the same link", sessionPlace)
	}
	return t, nil
}

// Fits tells whether an account's sessions have a link: an account that is no
// part of a host name cannot stand in one.
func (t CaptureTemplate) Fits(account string) bool {
	return t != "" && (!strings.Contains(t.host(), accountPlace) || isLabel(account))
}

// Link is the link to a session's capture pages; empty when there is none.
func (t CaptureTemplate) Link(account, sessionKey string) string {
	if !t.Fits(account) {
		return ""
	}
	return t.fill(account, sessionKey)
}

func (t CaptureTemplate) fill(account, sessionKey string) string {
	return strings.NewReplacer(accountPlace, url.QueryEscape(account), sessionPlace, url.QueryEscape(sessionKey)).Replace(string(t))
}

// host is the template between the scheme and the path.
func (t CaptureTemplate) host() string {
	_, rest, _ := strings.Cut(string(t), "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// isHost tells whether host is an IP address in brackets or labels with dots
// between them.
func isHost(host string) bool {
	if strings.Contains(host, ":") { // url.Parse allows it in brackets only
		return true
	}
	for label := range strings.SplitSeq(host, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isPort tells whether s, which is digits, is a port or left out.
func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return s == "" || err == nil && n > 0 && n < 1<<16
}

// isLabel tells whether s may be one part of a host name.
func isLabel(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return s != "" && len(s) <= 63 && strings.Trim(s, allowed) == "" && s[0] != '-' && s[len(s)-1] != '-'
}

// isURLText tells whether s has only bytes that stand for themselves in a URL.
func isURLText(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte("\"<>\\^`|", s[i]) >= 0 {
			return false
		}
	}
	return true
}

package callbackd

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// scriptSchemes lists the schemes that make a browser run or open the content of
// the URL itself. A redirect_url must not have one.
var scriptSchemes = []string{"javascript", "data", "vbscript", "file"}

// CheckRedirect returns an error for a redirect_url that is not allowed. Allowed are
// http and https URLs with a host, and URLs with an app's scheme, such as
// myapp://done. Pages show only http and https URLs as links.
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

// CaptureTemplate is the template of the link that a person opens to capture a
// session's photos: an http or https URL with the placeholders {account} and
// {session_key}. When it is empty, sessions have no link.
type CaptureTemplate string

const (
	accountPlace = "{account}"
	sessionPlace = "{session_key}"
)

// ParseCaptureTemplate checks a template. The text of the error continues a
// sentence that begins with the name of the setting.
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

// Fits reports whether an account's sessions have a link. An account that is not a
// valid part of a host name has none when the template has {account} in the host.
func (t CaptureTemplate) Fits(account string) bool {
	return t != "" && (!strings.Contains(t.host(), accountPlace) || isLabel(account))
}

// Link returns the link to a session's capture pages; empty when there is none.
func (t CaptureTemplate) Link(account, sessionKey string) string {
	if !t.Fits(account) {
		return ""
	}
	return t.fill(account, sessionKey)
}

func (t CaptureTemplate) fill(account, sessionKey string) string {
	return strings.NewReplacer(accountPlace, url.QueryEscape(account), sessionPlace, url.QueryEscape(sessionKey)).Replace(string(t))
}

// host returns the part of the template between the scheme and the path.
func (t CaptureTemplate) host() string {
	_, rest, _ := strings.Cut(string(t), "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// isHost reports whether host is an IPv6 address or labels separated by dots.
func isHost(host string) bool {
	if strings.Contains(host, ":") { // url.Parse accepts a colon in brackets only
		return true
	}
	for label := range strings.SplitSeq(host, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isPort reports whether s is a port number or empty.
func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return s == "" || err == nil && n > 0 && n < 1<<16
}

// isLabel reports whether s is a valid part of a host name.
func isLabel(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return s != "" && len(s) <= 63 && strings.Trim(s, allowed) == "" && s[0] != '-' && s[len(s)-1] != '-'
}

// isURLText reports whether a URL may contain every byte of s without escaping.
func isURLText(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte("\"<>\\^`|", s[i]) >= 0 {
			return false
		}
	}
	return true
}

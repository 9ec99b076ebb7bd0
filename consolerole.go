package callbackd

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// ConsoleRole says what a person who is signed in to the console may do. Each role may do
// what those before it may.
type ConsoleRole string

// The roles.
const (
	// ConsoleViewer reads what belongs to one API key, without secrets.
	ConsoleViewer ConsoleRole = "viewer"
	// ConsoleDeveloper also changes the callbacks of the key, sends tests, resends, replays,
	// cancels and erases.
	ConsoleDeveloper ConsoleRole = "developer"
	// ConsoleHolder knows the secret of the key, and may rotate it.
	ConsoleHolder ConsoleRole = "key_holder"
	// ConsoleOperator may do everything, for all API keys.
	ConsoleOperator ConsoleRole = "operator"
)

// ConsoleRoles lists the roles, the least one first.
var ConsoleRoles = []ConsoleRole{ConsoleViewer, ConsoleDeveloper, ConsoleHolder, ConsoleOperator}

// LinkRoles lists the roles that a link for a customer can have.
var LinkRoles = ConsoleRoles[:2]

// Includes reports whether the role may do what least may.
func (r ConsoleRole) Includes(least ConsoleRole) bool {
	return slices.Contains(ConsoleRoles, r) && slices.Index(ConsoleRoles, r) >= slices.Index(ConsoleRoles, least)
}

// ConsoleLink is a link that signs a browser in to the console of one API key, once.
type ConsoleLink struct {
	Role     ConsoleRole
	ReturnTo string        // where "Back to …" leads; empty for none
	Lasts    time.Duration // how long the browser stays signed in
}

// EnterPath is the path of links for customers, below the URL of the server.
const EnterPath = "/console/enter"

// CustomerURL returns the address of a link with a token. base is the URL of the server.
func CustomerURL(base string, token Secret) string {
	return strings.TrimSuffix(base, "/") + EnterPath + "?token=" + url.QueryEscape(token.Reveal())
}

// Limits of links.
const (
	// LinkLifetime is how long a link can be used.
	LinkLifetime = 10 * time.Minute
	// DefaultVisit, MinVisit and MaxVisit are how long a browser stays signed in by a link.
	DefaultVisit = 8 * time.Hour
	MinVisit     = 5 * time.Minute
	MaxVisit     = 7 * 24 * time.Hour
)

// CheckReturnTo returns an error when a link must not lead back to a URL: when it is not
// https, or http on this machine, or when its origin is not one of those that the operator
// has allowed. An empty URL is none.
func CheckReturnTo(text string, allowed []string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > MaxURL || u.User != nil || !isPageOrigin(u) || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }):
		return Invalid("return_to %q is not the address of a page; write for example https://app.example.com/settings.", Clip(text, 100))
	case !slices.Contains(allowed, Origin(text)):
		return Invalid("return_to leads to %s, which the operator has not allowed; `callbackd serve --return-origin %s` allows it.", Clip(Origin(text), 100), Clip(Origin(text), 100))
	}
	return nil
}

// PageOrigin returns the origin of web pages that a text names, such as
// https://app.example.com, in one spelling. ok is false when the text has anything else, or
// is neither https nor http on this machine.
func PageOrigin(text string) (origin string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || !isPageOrigin(u) {
		return "", false
	}
	return Origin(text), true
}

// isPageOrigin reports whether a URL is https, or http on this machine, with a plain host.
func isPageOrigin(u *url.URL) bool {
	host := u.Hostname()
	plain := host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:") == ""
	return plain && (u.Scheme == "https" || u.Scheme == "http" && IsLoopbackHost(host))
}

// IsLoopbackHost reports whether a host of a URL, without its port, is this machine. Browsers
// trust it as they trust https.
func IsLoopbackHost(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

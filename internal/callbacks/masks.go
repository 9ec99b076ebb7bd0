package callbacks

import (
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

// DefaultKeep and MaxKeep are how long an old signing secret stays valid after a
// rotation: by default, and at most.
const (
	DefaultKeep = callbackd.DefaultKeep
	MaxKeep     = 30 * 24 * time.Hour
)

// Admit checks a callback against its key. With requireHTTPS, a live key needs https for
// the URL and for that of its tokens.
func Admit(key *callbackd.Key, cb *callbackd.Callback, requireHTTPS bool) error {
	if requireHTTPS && key.Live && !strings.HasPrefix(callbackd.Origin(cb.URL), "https:") {
		return callbackd.Invalid("url must begin with https:// for a live API key.")
	}
	if a := cb.Policy.Auth; requireHTTPS && key.Live && a != nil && a.OAuth2 != nil && !strings.HasPrefix(callbackd.Origin(a.OAuth2.TokenURL), "https:") {
		return callbackd.Invalid("policy.auth.oauth2.token_url must begin with https:// for a live API key.")
	}
	return nil
}

// SameURL reports whether two URLs make the same request. It compares what goes over the
// wire.
func SameURL(a, b string) bool {
	if a == b {
		return true
	}
	u, err := egress.ParseURL(a)
	if err != nil {
		return false
	}
	v, err := egress.ParseURL(b)
	return err == nil && u.String() == v.String()
}

// RefuseMasks returns an error when a header has the mask as its value, so that the mask
// is never stored.
func RefuseMasks(headers []callbackd.Header) error {
	for _, h := range headers {
		if h.Value == callbackd.Mask {
			return callbackd.Invalid("headers has a masked value for %s, but no value is stored. Send the value itself.", h.Name)
		}
	}
	return nil
}

// Check returns an error when parts of a setting contradict each other, or when a stored
// value is missing.
func Check(cb *callbackd.Callback) error {
	if err := CheckSigning(cb); err != nil {
		return err
	}
	if cb.Policy.Expect != 0 && cb.Event.IsNotice() && cb.Event != callbackd.NoticeSilence {
		return callbackd.Invalid("policy.expect is for events of sessions, and for %s, where it is about all events of the API key; %s comes when something is wrong.", callbackd.NoticeSilence, cb.Event)
	}
	if err := checkFormat(cb); err != nil {
		return err
	}
	return CheckAuth(cb)
}

// Unmask gives a header of next the stored value of old when its value is the mask. It
// fails when the receiver changes, because a secret must only go to the receiver that it
// was given for.
func Unmask(old, next *callbackd.Callback) error {
	for i, h := range next.Headers {
		if h.Value != callbackd.Mask {
			continue
		}
		if !callbackd.SameOrigin(old.URL, next.URL) {
			return callbackd.Invalid("headers has a masked value for %s, but url names another receiver. Send the value again.", h.Name)
		}
		for _, o := range old.Headers {
			if strings.EqualFold(o.Name, h.Name) {
				next.Headers[i].Value = o.Value
			}
		}
	}
	return RefuseMasks(next.Headers)
}

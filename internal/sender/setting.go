package sender

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/signature"
)

// setting holds what is the same in every request of a callback as it is set. To make it
// for each attempt costs more than the rest of a request.
type setting struct {
	of      callbackd.Callback // the parts that count, see is
	target  *url.URL           // shared; it must not be changed
	headers []egress.Field     // all but those of the attempt
	keys    []*signature.Key   // for SignStandard: one for each of the callback's secrets, also expired ones
	signers []signer           // for the other schemes
	redact  *redactor
	// credentials are how requests sign in; nil when they do not.
	credentials []*credential
	traces      TraceMode
	err         error // the URL or a secret cannot be used
}

// newSetting prepares the requests of a callback.
func newSetting(cb *callbackd.Callback, agent string) *setting {
	s := &setting{of: callbackd.Callback{URL: cb.URL, Method: cb.Method, Headers: slices.Clone(cb.Headers), Secrets: slices.Clone(cb.Secrets)}, redact: newRedactor(cb)}
	s.headers = fixedHeaders(cb, agent)
	if s.target, s.err = egress.ParseURL(cb.URL); s.err != nil {
		return s
	}
	s.of.Policy.Signing, s.of.Policy.Auth, s.of.OldAuth = slices.Clone(cb.Policy.Signing), cb.Policy.Auth, cb.OldAuth
	for _, scheme := range cb.Policy.WithDefaults().Signing {
		if scheme != callbackd.SignStandard {
			key := signature.NewKey([]byte(cb.Secrets[0].Value.Reveal()))
			s.signers = append(s.signers, signer{scheme.Header(), scheme.Prefix(), key})
			continue
		}
		if s.keys, s.err = standardKeys(cb.Secrets); s.err != nil {
			return s
		}
	}
	return s
}

// signer signs bodies by another scheme than SignStandard. Such a header has room for one
// signature, so it is that of the newest secret.
type signer struct {
	header, prefix string
	key            *signature.Key
}

// standardKeys returns the keys of secrets for SignStandard. A secret that is kept for a
// while after a rotation may be that of another scheme; it has no key.
func standardKeys(secrets []callbackd.SigningSecret) ([]*signature.Key, error) {
	keys := make([]*signature.Key, len(secrets))
	for i, secret := range secrets {
		key, err := signature.ParseSecret(secret.Value.Reveal())
		switch {
		case err == nil:
			keys[i] = signature.NewKey(key)
		case i == 0:
			return nil, err
		}
	}
	return keys, nil
}

// is reports whether the setting is that of cb. A version does not tell: previews show
// settings that are not stored.
func (s *setting) is(cb *callbackd.Callback) bool {
	return s.of.Policy.Auth.Same(cb.Policy.Auth) && s.of.OldAuth.Auth.Same(cb.OldAuth.Auth) && s.of.OldAuth.EndsAt.Equal(cb.OldAuth.EndsAt) && s.of.URL == cb.URL && s.of.Method == cb.Method && slices.Equal(s.of.Headers, cb.Headers) && slices.Equal(s.of.Policy.Signing, cb.Policy.Signing) &&
		slices.EqualFunc(s.of.Secrets, cb.Secrets, func(a, b callbackd.SigningSecret) bool { return a.Value == b.Value && a.ExpiresAt.Equal(b.ExpiresAt) })
}

// signingKeys appends the keys that are valid at a time.
func (s *setting) signingKeys(keys []*signature.Key, at time.Time) []*signature.Key {
	for i, key := range s.keys {
		if key != nil && s.of.Secrets[i].InForce(at) {
			keys = append(keys, key)
		}
	}
	return keys
}

// fixedHeaders returns the headers that every request of a callback has.
func fixedHeaders(cb *callbackd.Callback, agent string) []egress.Field {
	own := slices.DeleteFunc(slices.Clone(cb.Headers), func(h callbackd.Header) bool { return isReserved(h.Name) })
	var out []egress.Field
	addUnlessSet := func(name, value string) {
		if !hasHeader(own, name) {
			out = append(out, egress.Field{Name: name, Value: value})
		}
	}
	addUnlessSet("User-Agent", agent)
	addUnlessSet("Accept", "*/*")
	addUnlessSet("Accept-Encoding", "identity")
	if !inQuery(cb) {
		addUnlessSet("Content-Type", "application/json")
	}
	for _, h := range own {
		out = append(out, egress.Field{Name: h.Name, Value: h.Value.Reveal()})
	}
	return out
}

// hasHeader reports whether headers have one with the name.
func hasHeader(headers []callbackd.Header, name string) bool {
	return slices.ContainsFunc(headers, func(h callbackd.Header) bool { return strings.EqualFold(h.Name, name) })
}

// isReserved reports whether only callbackd sets the header.
func isReserved(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "callback-")
}

// settings keeps the settings of the callbacks that were used last.
type settings struct {
	mu    sync.Mutex
	known map[callbackd.CallbackID]*setting
}

const maxSettings = 4096

// of returns the setting of a callback.
func (ss *settings) of(cb *callbackd.Callback, snd *Sender) *setting {
	ss.mu.Lock()
	s := ss.known[cb.ID]
	ss.mu.Unlock()
	if s != nil && s.is(cb) {
		return s
	}
	s = newSetting(cb, snd.agent)
	s.traces = snd.traces
	if s.err == nil {
		s.credentials, s.err = snd.credentials(cb)
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.known) >= maxSettings || ss.known == nil {
		ss.known = map[callbackd.CallbackID]*setting{}
	}
	ss.known[cb.ID] = s
	return s
}

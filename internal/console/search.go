package console

import (
	"net/http"
	"net/url"
	"strings"

	"callbackd"
	"callbackd/internal/store"
)

// vinLength is how many characters a VIN has (ISO 3779).
const vinLength = 17

// search opens what was named exactly: a delivery, an event, a replay, a
// session by its key or by its VIN. Anything else is looked for among the
// sessions.
func (c *Console) search(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	text := field(v.URL.Query().Get("q"))
	to, err := c.exact(v, s, text)
	if err != nil {
		return err
	}
	if to == "" {
		to = withQuery(link("sessions"), "q", text, "key", s.Chosen)
	}
	http.Redirect(w, v.Request, to, http.StatusSeeOther)
	return nil
}

// exact is the page of the one thing with that name; empty when there is none,
// or more than one.
func (c *Console) exact(v *visit, s scope, text string) (string, error) {
	lower := strings.ToLower(text)
	if id, ok := callbackd.ParseDeliveryID(lower); ok {
		cb, err := c.Store.CallbackByID(v.Context(), id.Callback)
		if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !v.sees(cb.Key) {
			return "", nil
		}
		return link("deliveries", id), err
	}
	if id, ok := callbackd.ParseEventID(lower); ok {
		return link("events", id), nil
	}
	if id, ok := callbackd.ParseReplayID(lower); ok {
		return link("replays", id), nil
	}
	hits, err := c.sessionsNamed(v, s, text)
	if err != nil || len(hits) != 1 {
		return "", err
	}
	return s.sessionHref(hits[0].Key, hits[0].SessionKey), nil
}

// sessionsNamed returns the sessions with that key or VIN, given whole.
func (c *Console) sessionsNamed(v *visit, s scope, text string) (out []store.SessionID, err error) {
	if text == "" {
		return nil, nil
	}
	for _, key := range s.every() {
		for _, name := range []string{text, strings.ToUpper(text)} {
			known, err := c.sessionKnown(v, key, name)
			if err != nil {
				return nil, err
			}
			if known {
				out = append(out, store.SessionID{Key: key, SessionKey: name})
				break
			}
		}
		if len(text) != vinLength {
			continue
		}
		page, err := c.Store.ListSessions(v.Context(), store.SessionQuery{Key: key, VIN: text, Limit: pageRows})
		if err != nil {
			return nil, err
		}
		for _, x := range page.Sessions {
			out = append(out, store.SessionID{Key: key, SessionKey: x.SessionKey})
		}
	}
	return out, nil
}

// sessionKnown tells whether a session is kept here, or known by its events.
func (c *Console) sessionKnown(v *visit, key callbackd.KeyID, name string) (bool, error) {
	_, err := c.Store.Session(v.Context(), key, name)
	if err == nil || callbackd.KindOf(err) != callbackd.KindNotFound {
		return err == nil, err
	}
	latest, err := c.Store.LatestEvents(v.Context(), []store.SessionID{{Key: key, SessionKey: name}}, 1)
	return len(latest) > 0, err
}

// query is the scope as a query.
func (s scope) query() url.Values {
	q := url.Values{}
	if s.Chosen != "" {
		q.Set("key", s.Chosen)
	}
	return q
}

// sessionHref is a session's page. A session key may be in use by several API
// keys: the operator's link says whose it is.
func (s scope) sessionHref(key callbackd.KeyID, session string) string {
	q := url.Values{}
	for _, k := range s.Keys {
		if k.ID == key {
			q.Set("key", k.APIKey)
		}
	}
	return withValues(link("sessions", session), q)
}

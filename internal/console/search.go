package console

import (
	"net/http"
	"slices"
	"strings"

	"callbackd"
	"callbackd/internal/store"
)

// vinLength is how many characters a VIN has (ISO 3779).
const vinLength = 17

// search opens the page of what was named exactly: a delivery, an event, a
// replay, or a session by its key or VIN. It searches the sessions for any
// other text.
func (c *Console) search(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	text := formField(req.URL.Query().Get("q"))
	to, err := c.exactMatch(req, s, text)
	if err != nil {
		return err
	}
	if to == "" {
		to = withQuery(link("sessions"), "q", text, "key", s.APIKey)
	}
	http.Redirect(w, req.Request, to, http.StatusSeeOther)
	return nil
}

// exactMatch returns the page of the only thing with that name. It is empty when
// there is none, or more than one.
func (c *Console) exactMatch(req *userRequest, s scope, text string) (string, error) {
	lower := strings.ToLower(text)
	if id, ok := callbackd.ParseDeliveryID(lower); ok {
		cb, err := c.Store.CallbackByID(req.Context(), id.Callback)
		if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !req.mayRead(cb.Key) {
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
	found, err := c.sessionsNamed(req, s.KeyID, text)
	if err != nil || len(found) != 1 {
		return "", err
	}
	return s.sessionHref(found[0].Key, found[0].SessionKey), nil
}

// sessionsNamed returns the sessions that have the text as their whole key or
// VIN. A session key may also be given in lower case.
func (c *Console) sessionsNamed(req *userRequest, key callbackd.KeyID, text string) (found []store.SessionID, err error) {
	if text == "" {
		return nil, nil
	}
	for _, name := range []string{text, strings.ToUpper(text)} {
		ids, err := c.sessionsWithKey(req, key, name)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if !slices.ContainsFunc(found, func(f store.SessionID) bool { return f.Key == id.Key }) {
				found = append(found, id)
			}
		}
	}
	if len(text) != vinLength {
		return found, nil
	}
	page, err := c.Store.ListSessions(req.Context(), store.SessionQuery{Key: key, VIN: text, Limit: pageRows})
	if err != nil {
		return nil, err
	}
	return appendSessionIDs(found, page.Sessions), nil
}

// sessionsWithKey returns the sessions with a session key: one for each API key
// that created the session or published events of it.
func (c *Console) sessionsWithKey(req *userRequest, key callbackd.KeyID, name string) ([]store.SessionID, error) {
	page, err := c.Store.ListSessions(req.Context(), store.SessionQuery{Key: key, SessionKey: name, Limit: store.MaxPage})
	if err != nil {
		return nil, err
	}
	found := appendSessionIDs(nil, page.Sessions)
	events, err := c.Store.LatestEvents(req.Context(), []store.SessionID{{Key: key, SessionKey: name}}, 1)
	if err != nil {
		return nil, err
	}
	for id := range events {
		if !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	return found, nil
}

// appendSessionIDs appends the sessions that ids does not have yet.
func appendSessionIDs(ids []store.SessionID, sessions []*callbackd.Session) []store.SessionID {
	for _, session := range sessions {
		id := store.SessionID{Key: session.Key, SessionKey: session.SessionKey}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

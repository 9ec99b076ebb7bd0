package console

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"callbackd"
	"callbackd/internal/store"
)

// vinLength is how many characters a VIN has (ISO 3779).
const vinLength = 17

// Limits of a search.
const (
	maxFound = 10 // results of a kind that the page shows
	// maxSearched is how many callbacks a search of all keys looks at. Those of one key
	// are few.
	maxSearched = 2000
)

// searchPage has what a text was found in, by kind.
type searchPage struct {
	base
	scope
	Text      string
	Sessions  []sessionRow
	More      string // the list of sessions, when it has more of them
	Callbacks []callbackRow
	APIKeys   []callbackd.Key // for the operator only
	Others    bool            // more callbacks or keys match than are shown
	Unread    bool            // there are more callbacks than a search looks at
}

// search opens the page of what was named exactly: a delivery, an event, a
// replay, or a session by its key or VIN. For any other text it shows the sessions,
// callbacks and API keys in which it is.
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
	if text == "" {
		to = withQuery(link("sessions"), "key", s.APIKey)
	}
	if to != "" {
		http.Redirect(w, req.Request, to, http.StatusSeeOther)
		return nil
	}
	p := &searchPage{base: c.base(req, "", "Search"), scope: s, Text: text}
	p.SearchText = text
	if err := c.searchSessions(req, p); err != nil {
		return err
	}
	if err := c.searchCallbacks(req, p); err != nil {
		return err
	}
	p.searchKeys()
	return c.render(w, http.StatusOK, "search", p)
}

// searchSessions finds the sessions that the list of sessions finds.
func (c *Console) searchSessions(req *userRequest, p *searchPage) error {
	list := &sessionsPage{scope: p.scope, Text: p.Text}
	if err := c.findSessions(req, list); err != nil {
		return err
	}
	p.Sessions = list.Rows[:min(len(list.Rows), maxFound)]
	if list.More || len(list.Rows) > maxFound {
		p.More = withQuery(link("sessions"), "q", p.Text, "key", p.APIKey)
	}
	return nil
}

// searchCallbacks finds the callback with a number, also one that is for one session, and
// callbacks by a part of their URL, name or event.
func (c *Console) searchCallbacks(req *userRequest, p *searchPage) error {
	if id, ok := parseCallbackID(p.Text); ok {
		cb, err := c.readableCallback(req, id)
		if err != nil && err != errPageNotFound {
			return err
		}
		if err == nil && (p.KeyID == store.AllKeys || cb.Key == p.KeyID) {
			p.addCallback(cb)
		}
	}
	q := store.CallbackQuery{Key: p.KeyID}
	if q.Key == store.AllKeys {
		q.Limit = store.MaxPage
	}
	for looked := 0; ; {
		page, err := c.Store.ListCallbacks(req.Context(), q)
		if err != nil {
			return err
		}
		for _, cb := range page.Callbacks {
			if callbackHas(cb, p.Text) {
				p.addCallback(cb)
			}
		}
		looked += len(page.Callbacks)
		if page.Next == 0 || p.Others {
			return nil
		}
		if looked >= maxSearched {
			p.Unread = true
			return nil
		}
		q.After = page.Next
	}
}

// addCallback adds a callback to the results, unless they have it or enough of them.
func (p *searchPage) addCallback(cb *callbackd.Callback) {
	switch {
	case slices.ContainsFunc(p.Callbacks, func(row callbackRow) bool { return row.ID == cb.ID }):
	case len(p.Callbacks) >= maxFound:
		p.Others = true
	default:
		p.Callbacks = append(p.Callbacks, callbackRow{Callback: cb, Owner: p.owner(cb.Key), Health: health(cb)})
	}
}

// callbackHas reports whether the URL, the name or the event of a callback has a text, in
// capitals or not. The name that is not shown does not count.
func callbackHas(cb *callbackd.Callback, text string) bool {
	return contains(cb.URL, text) || contains(string(cb.Event), text) || cb.Name != callbackd.DefaultName && contains(cb.Name, text)
}

func contains(s, text string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(text))
}

// searchKeys finds API keys by a part of the key, its account or its name.
func (p *searchPage) searchKeys() {
	for _, k := range p.Keys {
		if !contains(k.APIKey, p.Text) && !contains(k.Account, p.Text) && !contains(k.Name, p.Text) {
			continue
		}
		if len(p.APIKeys) >= maxFound {
			p.Others = true
			return
		}
		p.APIKeys = append(p.APIKeys, k)
	}
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
		ids, err := c.sessionsWithKey(req.Context(), key, name)
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
func (c *Console) sessionsWithKey(ctx context.Context, key callbackd.KeyID, name string) ([]store.SessionID, error) {
	page, err := c.Store.ListSessions(ctx, store.SessionQuery{Key: key, SessionKey: name, Limit: store.MaxPage})
	if err != nil {
		return nil, err
	}
	found := appendSessionIDs(nil, page.Sessions)
	events, err := c.Store.LatestEvents(ctx, []store.SessionID{{Key: key, SessionKey: name}}, 1)
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

package console

import (
	"net/http"
	"strings"

	"callbackd"
	"callbackd/internal/store"
)

// KeyOf returns the API key that a page is about: the one that is signed in, or the one
// whose object the operator looks at. It is 0 for pages about all keys or about none.
func (c *Console) KeyOf(r *http.Request) callbackd.KeyID {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Root+"/"), "/")
	if kind == "static" || kind == "link" || kind == "enter" || strings.HasPrefix(kind, "sign-") {
		return 0
	}
	req, err := c.authenticate(r)
	if err != nil || req == nil {
		return 0
	}
	if !req.isOperator() {
		return req.key.ID
	}
	if apiKey := r.URL.Query().Get("key"); apiKey != "" {
		return c.keyNamed(r, apiKey)
	}
	id, _, _ := strings.Cut(rest, "/")
	if kind == "deliveries" && (id == "live" || id == "stream") {
		return c.ownerOfLive(r)
	}
	return c.ownerOf(r, kind, id)
}

// ownerOfLive returns the key of the delivery or the callback whose attempts a live page shows:
// only its home has them as they happen.
func (c *Console) ownerOfLive(r *http.Request) callbackd.KeyID {
	q := r.URL.Query()
	if id := q.Get("delivery"); id != "" {
		return c.ownerOf(r, "deliveries", id)
	}
	return c.ownerOf(r, "callbacks", q.Get("callback"))
}

func (c *Console) keyNamed(r *http.Request, apiKey string) callbackd.KeyID {
	key, err := c.Store.Key(r.Context(), apiKey)
	if err != nil {
		return 0
	}
	return key.ID
}

// ownerOf returns the key of the object in a path; 0 when there is none.
func (c *Console) ownerOf(r *http.Request, kind, text string) callbackd.KeyID {
	var callback callbackd.CallbackID
	switch kind {
	case "callbacks":
		callback, _ = parseCallbackID(text)
	case "deliveries":
		id, _ := callbackd.ParseDeliveryID(text)
		callback = id.Callback
	case "events":
		id, ok := callbackd.ParseEventID(text)
		if !ok {
			return 0
		}
		if ev, err := c.Store.Event(r.Context(), store.AllKeys, id); err == nil {
			return ev.Key
		}
	case "replays":
		id, ok := callbackd.ParseReplayID(text)
		if !ok {
			return 0
		}
		if replay, err := c.Store.Replay(r.Context(), store.AllKeys, id); err == nil {
			return replay.Key
		}
	case "sessions":
		if text == "" { // the list
			return 0
		}
		if ids, err := c.sessionsWithKey(r.Context(), store.AllKeys, text); err == nil && len(ids) == 1 {
			return ids[0].Key
		}
		return 0
	case "keys":
		return c.keyNamed(r, text)
	}
	if callback == 0 {
		return 0
	}
	cb, err := c.Store.CallbackByID(r.Context(), callback)
	if err != nil {
		return 0
	}
	return cb.Key
}

// Fail answers with the page of an error.
func (c *Console) Fail(w http.ResponseWriter, r *http.Request, err error) { c.fail(w, r, nil, err) }

package api

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/internal/view"
	"callbackd/wire"
)

func (a *API) show(cb *callbackd.Callback) wire.Callback { return view.Callback(cb, a.MaskHeaders) }

// withKey returns a callback with its API key, as POST and PUT answer.
func (a *API) withKey(c *call, cb *callbackd.Callback) wire.Callback {
	out := a.show(cb)
	out.APIKey = c.key.APIKey
	return out
}

// admit checks what depends on the key, on the operator's switches, and on the platform's
// own types of events.
func (a *API) admit(c *call, cb *callbackd.Callback) error {
	for _, t := range cb.Types {
		if err := a.checkType(t); err != nil {
			return err
		}
	}
	return callbacks.Admit(c.key, cb, a.RequireHTTPS)
}

// setting reads a callback's setting from the body. For missing fields it returns PAVE's
// message. When the body was a form, the message says so, because the client may not
// know that.
func (c *call) setting(w http.ResponseWriter, needEvent bool) (callbackd.Callback, error) {
	_, body, err := c.object(w)
	if err != nil {
		return callbackd.Callback{}, err
	}
	cb, err := callbacks.Read(body, needEvent, c.key)
	if errors.Is(err, callbacks.ErrMissing) && len(c.unpacked.Form) > 0 {
		names := strings.Join(c.unpacked.Form, ", ")
		return cb, callbackd.Invalid("Missing required fields. The body was read as a form, and has %s.", callbackd.Clip(names, 200))
	}
	return cb, err
}

// replacement reads the setting that takes the place of the one in the path.
func (c *call) replacement(w http.ResponseWriter, ev callbackd.EventType) (callbackd.Callback, error) {
	if ev != "" {
		return c.setting(w, false)
	}
	_, body, err := c.object(w)
	if err != nil {
		return callbackd.Callback{}, err
	}
	return callbacks.ReadForSession(body, "The body")
}

func (a *API) createCallback(w http.ResponseWriter, c *call) error {
	b, err := c.setting(w, true)
	if err != nil {
		return err
	}
	if err := a.checkType(b.Event); err != nil {
		return err
	}
	if err := a.admit(c, &b); err != nil {
		return err
	}
	if a.MaskHeaders {
		if err := callbacks.RefuseMasks(b.Headers); err != nil {
			return err
		}
	}
	b.Key = c.key.ID
	given := len(b.Secrets) > 0
	if !given {
		b.Secrets = newSecrets()
	}
	if err := callbacks.Check(&b); err != nil {
		return err
	}
	if err := a.Tests.AllowChange(c.key.ID, time.Now()); err != nil {
		return err
	}
	show := func(cb *callbackd.Callback) ([]byte, error) {
		if !sameSetting(cb, &b) || given && cb.Secrets[0].Value != b.Secrets[0].Value {
			return nil, keyed{callbackd.Errorf(callbackd.KindConflict, "Your API Key has another callback setting for the event %s already. PUT %s updates it.", cb.Event, cb.Path("")), c.key.APIKey}
		}
		return marshal(a.withKey(c, cb))
	}
	cb, _, err := a.Store.CreateCallback(once(c, http.StatusOK, show), b, time.Now())
	if err != nil {
		return err
	}
	out, err := show(cb)
	if err != nil {
		return err
	}
	a.Dispatcher.CallbackChanged(cb.ID)
	a.advise(w, cb)
	answerRaw(w, http.StatusOK, out)
	return nil
}

// newSecrets returns the secrets of a callback that gets a new one.
func newSecrets() []callbackd.SigningSecret {
	return []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
}

// advise adds a header with the warnings about a setting: callbackd will refuse to send to
// a URL, or a receiver will refuse the client certificate. The documented body does not
// change.
func (a *API) advise(w http.ResponseWriter, cb *callbackd.Callback) {
	if warnings := a.warnings(cb); len(warnings) > 0 {
		w.Header().Set("Callback-Warning", strings.Join(warnings, " "))
	}
}

// warnings returns the warnings about a setting.
func (a *API) warnings(cb *callbackd.Callback) (warnings []string) {
	if a.Advise != nil {
		warnings = append(warnings, a.Advise(cb.URL))
		if auth := cb.Policy.Auth; auth != nil && auth.OAuth2 != nil {
			warnings = append(warnings, a.Advise(auth.OAuth2.TokenURL))
		}
	}
	warnings = append(warnings, callbacks.AdviseAuth(cb, time.Now()))
	warnings = slices.DeleteFunc(warnings, func(s string) bool { return s == "" })
	return slices.Compact(warnings)
}

// sameSetting reports whether a client sent a setting that is stored already. It ignores
// how the URL and the payload's JSON are spelled, the order of headers, and whether
// defaults are given or left out.
func sameSetting(a, b *callbackd.Callback) bool {
	return callbacks.SameURL(a.URL, b.URL) && a.Method == b.Method && strictjson.Same(a.Payload, b.Payload, callbackd.CanonicalNumber) &&
		slices.Equal(headersByName(a.Headers), headersByName(b.Headers)) && a.Policy.Same(b.Policy)
}

func headersByName(headers []callbackd.Header) []callbackd.Header {
	out := slices.Clone(headers)
	for i := range out {
		out[i].Name = strings.ToLower(out[i].Name)
	}
	slices.SortFunc(out, func(a, b callbackd.Header) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func sessionCallbackFields(q *store.CallbackQuery) []request.Field {
	return []request.Field{sessionKeyNamed("session", &q.Session)}
}

// listCallbacks answers with the callbacks that are for all sessions, which is what PAVE's
// clients know, or with those of one session.
func (a *API) listCallbacks(w http.ResponseWriter, c *call, q *store.CallbackQuery) error {
	q.Key = c.key.ID
	page, err := a.Store.ListCallbacks(c.Context(), *q)
	if err != nil {
		return err
	}
	out := wire.CallbackList{APIKey: c.key.APIKey, Data: []wire.Callback{}}
	for _, cb := range page.Callbacks {
		out.Data = append(out.Data, a.show(cb))
	}
	answer(w, http.StatusOK, out)
	return nil
}

// one returns the callback that the path names.
func (a *API) one(c *call) (*callbackd.Callback, error) {
	ev, name, err := c.callbackParam()
	if err != nil {
		return nil, err
	}
	if ev != "" {
		cb, err := store.CallbackNamed(c.Context(), a.Store, c.key.ID, ev, name)
		return cb, c.missing(err, ev)
	}
	id, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return nil, c.noCallback(ev)
	}
	cb, err := a.Store.CallbackByID(c.Context(), callbackd.CallbackID(id))
	if err == nil && (cb.Key != c.key.ID || !cb.OfSession() || cb.Deleted()) {
		return nil, c.noCallback(ev)
	}
	return cb, c.missing(err, ev)
}

// missing replaces the store's NotFound by PAVE's message.
func (c *call) missing(err error, ev callbackd.EventType) error {
	if err != nil && callbackd.KindOf(err) == callbackd.KindNotFound {
		return c.noCallback(ev)
	}
	return err
}

func (a *API) getCallback(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, wire.CallbackOne{APIKey: c.key.APIKey, Data: a.show(cb)})
	return nil
}

// namesTheSame returns an error when a body names another callback than the path and the query.
func namesTheSame(b *callbackd.Callback, ev callbackd.EventType, name string) error {
	if b.Event != "" && b.Event != ev {
		return callbackd.Invalid("event in the body is %s, but the path names %s. Leave it out or make them equal.", b.Event, ev)
	}
	if ev != "" && b.Name != callbackd.DefaultName && b.Name != name {
		return callbackd.Invalid("name in the body is %s, but the query names %s. A callback cannot be renamed.", b.Name, name)
	}
	return nil
}

func (a *API) replaceCallback(w http.ResponseWriter, c *call) error {
	ev, name, err := c.callbackParam()
	if err != nil {
		return err
	}
	b, err := c.replacement(w, ev)
	if err != nil {
		return err
	}
	if err := namesTheSame(&b, ev, name); err != nil {
		return err
	}
	b.Name = name
	if err := a.admit(c, &b); err != nil {
		return err
	}
	if a.MaskHeaders {
		if err := a.unmask(c, &b); err != nil {
			return err
		}
	}
	b.Key, b.Event = c.key.ID, ev
	if len(b.Secrets) > 0 {
		return callbackd.Invalid("secret is given when a callback is created, or to POST %s.", b.Path("/secret/rotate"))
	}
	b.Secrets = newSecrets()
	if err := a.Tests.AllowChange(c.key.ID, time.Now()); err != nil {
		return err
	}
	replaced := func(cb *callbackd.Callback) wire.Callback {
		out := a.withKey(c, cb)
		if cb.OfSession() && cb.Secrets[0] == b.Secrets[0] { // it is not shown again
			out.Secret = cb.Secrets[0].Value.Reveal()
			w.Header().Set("Cache-Control", "no-store")
		}
		return out
	}
	show := func(cb *callbackd.Callback) ([]byte, error) { return marshal(replaced(cb)) }
	cb, err := a.Store.ChangeCallback(once(c, http.StatusOK, show), b.Key, b.Event, b.Name, replaceBy(b, time.Now()))
	if err != nil {
		return c.missing(err, ev)
	}
	a.Dispatcher.CallbackChanged(cb.ID)
	a.advise(w, cb)
	answer(w, http.StatusOK, replaced(cb))
	return nil
}

// replaceBy returns the change that gives a callback the setting next.
func replaceBy(next callbackd.Callback, at time.Time) func(*callbackd.Callback) error {
	return func(stored *callbackd.Callback) error {
		next := next
		if err := callbacks.UnmaskAuth(stored, &next); err != nil {
			return err
		}
		stored.Replace(&next, at)
		return callbacks.Check(stored)
	}
}

// unmask replaces masks that a client sent back by the stored values: see
// [callbacks.Unmask].
func (a *API) unmask(c *call, cb *callbackd.Callback) error {
	old, err := a.one(c)
	if err != nil {
		return err
	}
	return callbacks.Unmask(old, cb)
}

func (a *API) deleteCallback(w http.ResponseWriter, c *call) error {
	ev, name, err := c.callbackParam()
	if err != nil {
		return err
	}
	gone := wire.Message{APIKey: c.key.APIKey, Message: "Callback setting " + c.PathValue("event") + " has been successfully removed."}
	show := func(*callbackd.Callback) ([]byte, error) { return marshal(gone) }
	now := time.Now()
	cb, err := a.Store.ChangeCallback(once(c, http.StatusOK, show), c.key.ID, ev, name, func(cb *callbackd.Callback) error {
		cb.Delete(now)
		return nil
	})
	if err != nil {
		return c.missing(err, ev)
	}
	a.Dispatcher.CallbackChanged(cb.ID)
	answer(w, http.StatusOK, gone)
	return nil
}

func (a *API) getPolicy(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, view.Policy(cb, c.key.APIKey, time.Now()))
	return nil
}

func (a *API) getStats(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	out, err := view.CallbackStats(c.Context(), a.Store, cb, c.key.APIKey, time.Now())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) getSecret(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	if cb.OfSession() {
		return callbackd.Errorf(callbackd.KindConflict, "The secret of a callback for one session is shown once, in the answer to the call that made it. POST %s makes another one.", cb.Path("/secret/rotate"))
	}
	a.answerSecret(w, c, cb)
	return nil
}

func (a *API) answerSecret(w http.ResponseWriter, c *call, cb *callbackd.Callback) {
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, c.secret(cb))
}

func (c *call) secret(cb *callbackd.Callback) wire.Secret {
	return wire.Secret{APIKey: c.key.APIKey, Event: string(cb.Event), Secret: cb.Secrets[0].Value.Reveal()}
}

func (a *API) rotateSecret(w http.ResponseWriter, c *call) error {
	next := callbackd.Secret(signature.NewSecret())
	r, err := a.rotation(w, c, func(body request.Object, keep request.Field) error {
		return body.Strict("A rotation").Read(keep, callbacks.SecretField("secret", &next))
	})
	if err != nil {
		return err
	}
	show := func(cb *callbackd.Callback) ([]byte, error) { return marshal(c.secret(cb)) }
	cb, err := a.Store.ChangeCallback(once(c, http.StatusOK, show), c.key.ID, r.event, r.name, func(cb *callbackd.Callback) error {
		if err := cb.RotateSecret(next, r.until, r.at); err != nil {
			return err
		}
		return callbacks.CheckSigning(cb)
	})
	if err != nil {
		return c.missing(err, r.event)
	}
	a.Dispatcher.CallbackChanged(cb.ID)
	a.answerSecret(w, c, cb)
	return nil
}

func (a *API) pauseCallback(w http.ResponseWriter, c *call) error {
	return a.setPause(w, c, callbackd.Pause{Reason: callbackd.PausedByUser, At: time.Now().UTC().Truncate(time.Millisecond)})
}

func (a *API) resumeCallback(w http.ResponseWriter, c *call) error {
	return a.setPause(w, c, callbackd.Pause{At: time.Now().UTC().Truncate(time.Millisecond)})
}

func (a *API) setPause(w http.ResponseWriter, c *call, p callbackd.Pause) error {
	ev, name, err := c.callbackParam()
	if err != nil {
		return err
	}
	if err := a.Tests.AllowChange(c.key.ID, time.Now()); err != nil {
		return err
	}
	show := func(cb *callbackd.Callback) ([]byte, error) {
		return marshal(view.Policy(cb, c.key.APIKey, time.Now()))
	}
	cb, err := a.Store.ChangeCallback(once(c, http.StatusOK, show), c.key.ID, ev, name, func(cb *callbackd.Callback) error {
		cb.SetPause(p)
		return nil
	})
	if err != nil {
		return c.missing(err, ev)
	}
	a.Dispatcher.CallbackChanged(cb.ID)
	answer(w, http.StatusOK, view.Policy(cb, c.key.APIKey, time.Now()))
	return nil
}

package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// keyList is the query of GET /v1/admin/keys.
type keyList struct {
	account, state, after string
	limit                 int
}

// keyStates lists the states of API keys.
var keyStates = []string{"active", "expired", "revoked"}

func keyListFields(q *keyList) []request.Field {
	return []request.Field{
		queryText("account", &q.account),
		request.Choice("state", &q.state, keyStates),
		limitField(&q.limit),
		queryText("cursor", &q.after),
	}
}

// listKeys answers with a page of keys, oldest first. The cursor is the last key of the
// page before.
func (a *API) listKeys(w http.ResponseWriter, c *call, q *keyList) error {
	keys, err := a.Store.ListKeys(c.Context())
	if err != nil {
		return err
	}
	if q.after != "" {
		i := slices.IndexFunc(keys, func(k callbackd.Key) bool { return k.APIKey == q.after })
		if i < 0 {
			return request.ErrCursor
		}
		keys = keys[i+1:]
	}
	out, now := wire.KeyList{Data: []wire.Key{}}, time.Now()
	for i := range keys {
		k := &keys[i]
		if q.account != "" && k.Account != q.account || q.state != "" && k.State(now) != q.state {
			continue
		}
		if len(out.Data) == q.limit {
			out.Next = &out.Data[q.limit-1].APIKey
			break
		}
		out.Data = append(out.Data, view.Key(k, now))
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) listAccounts(w http.ResponseWriter, c *call) error {
	keys, err := a.Store.ListKeys(c.Context())
	if err != nil {
		return err
	}
	now, at := time.Now(), map[string]int{}
	out := wire.AccountList{Data: []wire.Account{}}
	for i := range keys {
		k := &keys[i]
		n, ok := at[k.Account]
		if !ok {
			n = len(out.Data)
			at[k.Account], out.Data = n, append(out.Data, wire.Account{Account: k.Account})
		}
		out.Data[n].Keys++
		if k.InForce(now) {
			out.Data[n].Active++
		}
	}
	slices.SortFunc(out.Data, func(x, y wire.Account) int { return strings.Compare(x.Account, y.Account) })
	answer(w, http.StatusOK, out)
	return nil
}

// keyFields describes all settings of a key that can change.
func keyFields(k *callbackd.Key) []request.Field {
	return append(apikey.Fields(k), callbacks.KeyPolicyField(&k.CallbackPolicy))
}

// createKey makes a key. Its answer alone has the secret.
func (a *API) createKey(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	settings := callbackd.Key{Live: true}
	given := []request.Field{request.Text("account", &settings.Account, callbackd.MaxName).Required(), request.Flag("live", &settings.Live)}
	if err := body.Strict("An API key").Read(append(given, keyFields(&settings)...)...); err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	k, err := apikey.New(settings.Account, settings.Name, settings.Live, now)
	if err != nil {
		return err
	}
	k.SetSettings(&settings)
	show := func(k *callbackd.Key) ([]byte, error) { return marshal(withSecret(k, now)) }
	k, err = a.Store.CreateKey(once(c, http.StatusCreated, show), k)
	if err != nil {
		return err
	}
	answer(w, http.StatusCreated, withSecret(&k, now))
	return nil
}

// withSecret returns a key with its secret.
func withSecret(k *callbackd.Key, now time.Time) wire.Key {
	out := view.Key(k, now)
	out.Secret = k.Secret.Reveal()
	return out
}

func (a *API) getKey(w http.ResponseWriter, c *call) error {
	answer(w, http.StatusOK, view.Key(c.key, time.Now()))
	return nil
}

// replaceKey replaces the settings of a key. What is not given gets its default.
func (a *API) replaceKey(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	next := callbackd.Key{Account: c.key.Account, TimeFrame: callbackd.DefaultTimeFrame}
	if err := body.Strict("The settings of an API key").Read(keyFields(&next)...); err != nil {
		return err
	}
	return a.changeKey(w, c, view.Key, func(k *callbackd.Key) error {
		k.SetSettings(&next)
		return nil
	})
}

func (a *API) rotateKey(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	keep := callbacks.DefaultKeep
	if err := body.Strict("A rotation").Read(request.Duration("keep", &keep, 0, callbacks.MaxKeep)); err != nil {
		return err
	}
	next, until := apikey.Secret(), time.Now().Add(keep).UTC().Truncate(time.Millisecond)
	return a.changeKey(w, c, withSecret, func(k *callbackd.Key) error { return k.Rotate(next, until) })
}

func (a *API) revokeKey(w http.ResponseWriter, c *call) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return a.changeKey(w, c, view.Key, func(k *callbackd.Key) error {
		k.Revoke(now)
		return nil
	})
}

// changeKey changes the key of the path and answers with what shown makes of it.
func (a *API) changeKey(w http.ResponseWriter, c *call, shown func(*callbackd.Key, time.Time) wire.Key, change func(*callbackd.Key) error) error {
	var changed callbackd.Key
	now := time.Now()
	show := func(k *callbackd.Key) ([]byte, error) { return marshal(shown(k, now)) }
	err := a.Store.ChangeKey(once(c, http.StatusOK, show), c.key.APIKey, func(k *callbackd.Key) error {
		err := change(k)
		changed = *k
		return err
	})
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, shown(&changed, now))
	return nil
}

// callbackListFields describes the query of GET /v1/admin/callbacks.
func callbackListFields(q *store.CallbackQuery) []request.Field {
	return []request.Field{
		request.EventType("event", &q.Event),
		queryText("name", &q.Name),
		limitField(&q.Limit),
		request.CallbackID("cursor", &q.After),
	}
}

func (a *API) listAllCallbacks(w http.ResponseWriter, c *call, q *store.CallbackQuery) error {
	q.Key = c.keyID()
	page, err := a.Store.ListCallbacks(c.Context(), *q)
	if err != nil {
		return err
	}
	out := wire.CallbackStateList{Data: []wire.CallbackState{}}
	for _, cb := range page.Callbacks {
		owner, err := a.owner(c, cb.Key)
		if err != nil {
			return err
		}
		out.Data = append(out.Data, view.CallbackState(cb, owner, time.Now()))
	}
	if page.Next != 0 {
		out.Next = new(int64(page.Next))
	}
	answer(w, http.StatusOK, out)
	return nil
}

// owner returns the text of the API key of an object, for the answers of the management
// API. It is empty for a signed call, whose caller knows the key.
func (a *API) owner(c *call, id callbackd.KeyID) (string, error) {
	if c.token == nil {
		return "", nil
	}
	if c.key != nil && c.key.ID == id {
		return c.key.APIKey, nil
	}
	k, err := a.Store.KeyByID(c.Context(), id)
	if err != nil {
		return "", err
	}
	return k.APIKey, nil
}

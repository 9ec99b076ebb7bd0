package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// eraseRoutes returns the endpoints of erasures.
func (a *API) eraseRoutes() []route {
	return []route{
		withQuery("DELETE /v1/sessions/{key}/data", a.eraseSession, func(q *callbackd.Erase) []request.Field {
			return []request.Field{request.Flag("dry_run", &q.DryRun)}
		}),
		{pattern: "POST /v1/erases", signed: a.createErase},
		withQuery("GET /v1/erases", a.listErases, eraseListFields),
		{pattern: "GET /v1/erases/{id}", signed: a.getErase},
	}
}

// eraseSession erases the session in the path. It need not be stored here: its events may
// have been published.
func (a *API) eraseSession(w http.ResponseWriter, c *call, q *callbackd.Erase) error {
	q.By = callbackd.EraseSession
	value, ok := q.By.EraseValue(c.PathValue("key"))
	if ok {
		var err error
		if ok, err = callbacks.HasEvents(c.Context(), a.Store, c.key.ID, value); err != nil {
			return err
		}
	}
	if !ok {
		if _, err := a.stored(c); err != nil {
			return err
		}
	}
	return a.startErase(w, c, *q, value)
}

// eraseFields describes what chooses an erasure. values has what the body gives.
func eraseFields(e *callbackd.Erase, values map[callbackd.EraseBy]*string) []request.Field {
	fields := []request.Field{request.Flag("dry_run", &e.DryRun)}
	for _, by := range callbackd.EraseBys {
		values[by] = new(string)
		fields = append(fields, request.Text(string(by), values[by], callbackd.MaxEraseValue).Private())
	}
	return fields
}

// chosen returns by what an erasure is chosen, and the value.
func chosen(values map[callbackd.EraseBy]*string) (by callbackd.EraseBy, normal string, err error) {
	for _, one := range callbackd.EraseBys {
		value := *values[one]
		if value == "" {
			continue
		}
		if by != "" {
			return "", "", callbackd.Invalid("An erasure has %s or %s, not both; start two.", by, one)
		}
		var ok bool
		if normal, ok = one.EraseValue(value); !ok {
			return "", "", one.ErrValue(value)
		}
		by = one
	}
	if by == "" {
		return "", "", callbackd.Invalid("An erasure needs one of %s.", request.List(callbackd.EraseBys, "or"))
	}
	return by, normal, nil
}

// readErase reads the body of a call that starts an erasure, and the value that it looks for.
func readErase(w http.ResponseWriter, c *call) (e callbackd.Erase, value string, err error) {
	text, body, err := c.object(w)
	if err != nil {
		return e, "", err
	}
	if text == nil { // an empty body must not erase anything
		return e, "", errNoBody
	}
	values := map[callbackd.EraseBy]*string{}
	if err := body.Strict("An erasure").Read(eraseFields(&e, values)...); err != nil {
		return e, "", err
	}
	e.By, value, err = chosen(values)
	return e, value, err
}

func (a *API) createErase(w http.ResponseWriter, c *call) error {
	e, value, err := readErase(w, c)
	if err != nil {
		return err
	}
	return a.startErase(w, c, e, value)
}

// createErases starts an erasure in every API key, or for a session key in each that has the
// session: in all of them, or in none.
func (a *API) createErases(w http.ResponseWriter, c *call) error {
	e, value, err := readErase(w, c)
	if err != nil {
		return err
	}
	keys, err := callbacks.KeysToErase(c.Context(), a.Store, e.By, value)
	if err != nil {
		return err
	}
	names, ids := map[callbackd.KeyID]string{}, make([]callbackd.KeyID, len(keys))
	for i := range keys {
		ids[i], names[keys[i].ID] = keys[i].ID, keys[i].APIKey
	}
	show := func(g *callbackd.EraseGroup) (wire.EraseGroup, error) { return view.EraseGroup(g, names) }
	e.CreatedAt = time.Now().UTC().Truncate(time.Millisecond)
	made, err := a.Store.CreateErases(once(c, http.StatusAccepted, func(g *callbackd.EraseGroup) ([]byte, error) {
		out, err := show(g)
		if err != nil {
			return nil, err
		}
		return marshal(out)
	}), e, ids, value)
	if callbackd.KindOf(err) == callbackd.KindLimited {
		return callbackd.Errorf(callbackd.KindLimited, "Nothing was started in any API key. %s", callbackd.Sentence(err))
	}
	if err != nil {
		return err
	}
	a.Dispatcher.ReplaysChanged()
	out, err := show(made)
	if err == nil {
		answer(w, http.StatusAccepted, out)
	}
	return err
}

// getEraseGroup answers with an erasure over all API keys.
func (a *API) getEraseGroup(w http.ResponseWriter, c *call) error {
	id, ok := callbackd.ParseEraseGroupID(c.PathValue("id"))
	if !ok {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no erasure over all API keys %s.", callbackd.Clip(c.PathValue("id"), 60))
	}
	g, err := a.Store.EraseGroup(c.Context(), id)
	if err != nil {
		return err
	}
	out, err := a.shownEraseGroup(c, g)
	if err == nil {
		answer(w, http.StatusOK, out)
	}
	return err
}

// shownEraseGroup returns an erasure over all API keys with the texts of the keys.
func (a *API) shownEraseGroup(c *call, g *callbackd.EraseGroup) (out wire.EraseGroup, err error) {
	names := map[callbackd.KeyID]string{}
	for i := range g.Erases {
		key := g.Erases[i].Key
		if names[key], err = a.owner(c, key); err != nil {
			return out, err
		}
	}
	return view.EraseGroup(g, names)
}

// eraseGroupList is the query of GET /v1/admin/erase-groups.
type eraseGroupList struct {
	after callbackd.EraseGroupID
	limit int
}

func eraseGroupListFields(q *eraseGroupList) []request.Field {
	return []request.Field{limitField(&q.limit), request.Cursor("cursor", &q.after, callbackd.ParseEraseGroupID)}
}

// listEraseGroups answers with erasures over all API keys, newest first.
func (a *API) listEraseGroups(w http.ResponseWriter, c *call, q *eraseGroupList) error {
	page, err := a.Store.ListEraseGroups(c.Context(), store.EraseGroupQuery{After: q.after, Limit: q.limit})
	if err != nil {
		return err
	}
	data, err := shownAll(c, page.Groups, a.shownEraseGroup)
	if err == nil {
		answer(w, http.StatusOK, wire.EraseGroupList{Data: data, Next: nextCursor(page.Next)})
	}
	return err
}

func (a *API) startErase(w http.ResponseWriter, c *call, e callbackd.Erase, value string) error {
	e.Key, e.CreatedAt = c.key.ID, time.Now().UTC().Truncate(time.Millisecond)
	show := func(e *callbackd.Erase) ([]byte, error) { // the call is about one key, so that the store is not asked for it
		out, err := a.shownErase(c, e)
		if err != nil {
			return nil, err
		}
		return marshal(out)
	}
	made, err := a.Store.CreateErase(once(c, http.StatusAccepted, show), e, value)
	if err != nil {
		return err
	}
	a.Dispatcher.ReplaysChanged()
	return a.answerErase(w, c, http.StatusAccepted, made)
}

// shownErase returns an erasure, with its API key for an operator token.
func (a *API) shownErase(c *call, e *callbackd.Erase) (out wire.Erase, err error) {
	out = view.Erase(e)
	if out.APIKey, err = a.owner(c, e.Key); out.APIKey == "" {
		out.Group = "" // the key's holder cannot read it
	}
	return out, err
}

func (a *API) answerErase(w http.ResponseWriter, c *call, status int, e *callbackd.Erase) error {
	out, err := a.shownErase(c, e)
	if err == nil {
		answer(w, status, out)
	}
	return err
}

// eraseList is the query of GET /v1/erases.
type eraseList struct {
	after callbackd.EraseID
	limit int
}

func eraseListFields(q *eraseList) []request.Field {
	return []request.Field{limitField(&q.limit), request.Cursor("cursor", &q.after, callbackd.ParseEraseID)}
}

func (a *API) listErases(w http.ResponseWriter, c *call, q *eraseList) error {
	page, err := a.Store.ListErases(c.Context(), store.EraseQuery{Key: c.keyID(), After: q.after, Limit: q.limit})
	if err != nil {
		return err
	}
	data, err := shownAll(c, page.Erases, a.shownErase)
	if err == nil {
		answer(w, http.StatusOK, wire.EraseList{Data: data, Next: nextCursor(page.Next)})
	}
	return err
}

func (a *API) getErase(w http.ResponseWriter, c *call) error {
	id, ok := callbackd.ParseEraseID(c.PathValue("id"))
	if !ok {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no erasure %s.", callbackd.Clip(c.PathValue("id"), 60))
	}
	e, err := a.Store.Erase(c.Context(), c.keyID(), id)
	if err != nil {
		return err
	}
	return a.answerErase(w, c, http.StatusOK, e)
}

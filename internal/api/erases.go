package api

import (
	"net/http"
	"time"

	"callbackd"
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
		events, err := a.Store.SessionEvents(c.Context(), store.SessionEventQuery{Key: c.key.ID, Session: value, Limit: 1})
		if err != nil {
			return err
		}
		ok = len(events) > 0
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
		fields = append(fields, request.Text(string(by), values[by], callbackd.MaxEraseValue))
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
			return "", "", callbackd.Invalid("%s %q is none: it must be %s.", one, callbackd.Clip(value, 60), eraseForms[one])
		}
		by = one
	}
	if by == "" {
		return "", "", callbackd.Invalid("An erasure needs one of %s.", request.List(callbackd.EraseBys, "or"))
	}
	return by, normal, nil
}

// eraseForms says what each value must be.
var eraseForms = map[callbackd.EraseBy]string{
	callbackd.EraseSession:   "a session key of at most 64 bytes",
	callbackd.EraseVIN:       "17 letters and digits",
	callbackd.ErasePhone:     "a number of 6 digits or more, with +, -, ., /, spaces or brackets",
	callbackd.EraseReference: "a text or a number of the reference",
}

func (a *API) createErase(w http.ResponseWriter, c *call) error {
	text, body, err := c.object(w)
	if err != nil {
		return err
	}
	if text == nil { // an empty body must not erase anything
		return errNoBody
	}
	var e callbackd.Erase
	values := map[callbackd.EraseBy]*string{}
	if err := body.Strict("An erasure").Read(eraseFields(&e, values)...); err != nil {
		return err
	}
	value := ""
	if e.By, value, err = chosen(values); err != nil {
		return err
	}
	return a.startErase(w, c, e, value)
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
	out.APIKey, err = a.owner(c, e.Key)
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
	out := wire.EraseList{Data: []wire.Erase{}}
	for i := range page.Erases {
		one, err := a.shownErase(c, &page.Erases[i])
		if err != nil {
			return err
		}
		out.Data = append(out.Data, one)
	}
	if page.Next != 0 {
		out.Next = new(page.Next.String())
	}
	answer(w, http.StatusOK, out)
	return nil
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

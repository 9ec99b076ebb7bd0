package api

import (
	"net/http"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

func (a *API) explainDelivery(w http.ResponseWriter, c *call) error {
	id, err := a.deliveryID(c)
	if err != nil {
		return err
	}
	out, err := view.Explain(c.Context(), a.Store, a.Dispatcher.Diagnosis, c.keyID(), id, time.Now())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) explainEvent(w http.ResponseWriter, c *call) error {
	id, ok := callbackd.ParseEventID(c.PathValue("id"))
	if !ok {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no event %s.", callbackd.Clip(c.PathValue("id"), 60))
	}
	callback := callbackd.CallbackID(0)
	if chosen, ok := c.query.Get("callback"); ok && c.query.Given("callback") {
		ev, err := a.Store.Event(c.Context(), c.keyID(), id)
		if err != nil {
			return err
		}
		if callback, err = a.callbackOf(c, chosen, ev.Type); err != nil {
			return err
		}
	}
	data, err := view.ExplainEvent(c.Context(), a.Store, a.Dispatcher.Diagnosis, c.keyID(), id, callback, time.Now())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, wire.EventExplanation{EventID: id.String(), Data: data})
	return nil
}

func logFields(q *store.LogQuery) []request.Field {
	return []request.Field{
		methodField(&q.Method),
		queryText("path", &q.Path),
		request.Status("status", &q.Status),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
		limitField(&q.Limit),
		request.Cursor("cursor", &q.After, parseLogCursor),
	}
}

// logPrefix is what an event's ID has before the cursor of a list of calls.
const logPrefix = "evt_"

func parseLogCursor(s string) (store.LogCursor, bool) {
	id, ok := callbackd.ParseEventID(logPrefix + s)
	return store.LogCursor{ID: store.LogID(id)}, ok && id != 0
}

func (a *API) listLogs(w http.ResponseWriter, c *call, q *store.LogQuery) error {
	q.Key = c.keyID()
	page, err := a.Store.ListLogs(c.Context(), *q)
	if err != nil {
		return err
	}
	out := wire.LogList{Data: []wire.Log{}}
	for i := range page.Entries {
		one := view.Log(&page.Entries[i])
		if one.APIKey, err = a.owner(c, page.Entries[i].Key); err != nil {
			return err
		}
		out.Data = append(out.Data, one)
	}
	if page.Next.ID != 0 {
		s := strings.TrimPrefix(callbackd.EventID(page.Next.ID).String(), logPrefix)
		out.Next = &s
	}
	answer(w, http.StatusOK, out)
	return nil
}

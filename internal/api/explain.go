package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/internal/view"
	"callbackd/wire"
)

func (a *API) explainDelivery(w http.ResponseWriter, c *call) error {
	id, err := a.deliveryID(c)
	if err != nil {
		return err
	}
	out, err := view.Explain(c.Context(), a.Store, a.Dispatcher.Diagnosis, c.key.ID, id, time.Now())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) explainEvent(w http.ResponseWriter, c *call) error {
	id, ok := callbackd.ParseEventID(c.PathValue("id"))
	if !ok {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no event %s.", clip(c.PathValue("id"), 60))
	}
	no := callbackd.CallbackID(0)
	if s := c.query.Get("callback"); s != "" {
		ev, err := a.Store.Event(c.Context(), c.key.ID, id)
		if err != nil {
			return err
		}
		if no, err = a.callbackOf(c, "callback", strictjson.Value(strictjson.AppendString(nil, s)), ev.Type); err != nil {
			return err
		}
	}
	data, err := view.ExplainEvent(c.Context(), a.Store, a.Dispatcher.Diagnosis, c.key.ID, id, no, time.Now())
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, wire.EventExplanation{EventID: id.String(), Data: data})
	return nil
}

func (a *API) listLogs(w http.ResponseWriter, c *call) error {
	f, err := readFilter(c.query)
	if err != nil {
		return err
	}
	status, err := readStatus(c.query.Get("status"))
	if err != nil {
		return err
	}
	q := store.LogQuery{Key: c.key.ID, Method: f.method, Path: f.path, Status: status, Since: f.since, Until: f.until, Limit: f.limit}
	if f.cursor != "" {
		id, ok := callbackd.ParseEventID("evt_" + f.cursor)
		if !ok || id == 0 {
			return errCursor
		}
		q.After.ID = store.LogID(id)
	}
	page, err := a.Store.ListLogs(c.Context(), q)
	if err != nil {
		return err
	}
	out := wire.LogList{Data: []wire.Log{}}
	for i := range page.Entries {
		out.Data = append(out.Data, showLog(&page.Entries[i]))
	}
	if page.Next.ID != 0 {
		s := callbackd.EventID(page.Next.ID).String()[len("evt_"):]
		out.Next = &s
	}
	answer(w, http.StatusOK, out)
	return nil
}

func showLog(e *store.LogEntry) wire.Log {
	n := max(e.Count, 1)
	return wire.Log{At: e.At, Method: e.Method, Path: e.Path, Status: e.Status, Duration: float64(e.Duration.Microseconds()) / float64(n) / 1000,
		Message: e.Message, Address: e.Address, Count: n}
}

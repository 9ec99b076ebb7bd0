package api

import (
	"net/http"
	"time"

	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/wire"
)

// testFilter answers what a filter and a choice of fields would do with the latest events
// of the key. It changes nothing.
func (a *API) testFilter(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	var t callbacks.Trial
	err = body.Strict("A test of a filter").Read(
		request.EventType("event", &t.Type).Optional(),
		callbacks.FilterField("filter", &t.Filter),
		callbacks.FieldsField("fields", &t.Fields),
	)
	if err != nil {
		return err
	}
	if err := a.Tests.AllowChange(c.key.ID, time.Now()); err != nil {
		return err
	}
	tried, err := t.Run(c.Context(), a.Store, c.key.ID)
	if err != nil {
		return err
	}
	out := wire.FilterTest{APIKey: c.key.APIKey, Matching: callbacks.Matching(tried), Data: make([]wire.FilteredEvent, len(tried))}
	for i := range tried {
		ev := &tried[i]
		out.Data[i] = wire.FilteredEvent{ID: ev.ID.String(), Event: string(ev.Type), SessionKey: ev.Session, AcceptedAt: ev.Accepted(), Matches: ev.Matches, Failed: ev.Failed, Data: ev.Sent}
	}
	answer(w, http.StatusOK, out)
	return nil
}

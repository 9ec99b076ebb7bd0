package api

import (
	"net/http"
	"strconv"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

func auditFields(q *store.AuditQuery) []request.Field {
	return []request.Field{
		request.Choice("action", &q.Action, callbackd.AuditActions),
		request.Choice("actor", &q.Kind, callbackd.ActorKinds),
		request.CallbackID("callback", &q.Target),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
		limitField(&q.Limit),
		request.Cursor("cursor", &q.After.Number, parseAuditNumber),
	}
}

// parseAuditNumber reads the number of an entry.
func parseAuditNumber(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 1
}

func (a *API) listAudit(w http.ResponseWriter, c *call, q *store.AuditQuery) error {
	q.Key = c.key.ID
	page, err := a.Store.ListAudit(c.Context(), *q)
	if err != nil {
		return err
	}
	out := wire.AuditList{Data: []wire.AuditEntry{}}
	for i := range page.Entries {
		out.Data = append(out.Data, view.Audit(&page.Entries[i], true))
	}
	if page.Next.Number != 0 {
		out.Next = new(strconv.FormatInt(page.Next.Number, 10))
	}
	answer(w, http.StatusOK, out)
	return nil
}

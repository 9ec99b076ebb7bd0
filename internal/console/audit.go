package console

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

type auditRow struct {
	callbackd.AuditEntry
	Owner   string
	Href    string // of what the entry is about; empty when it has no page
	Changes []callbackd.AuditDifference
}

// auditFields are the fields of the filter of the audit log.
var auditFields = []string{"action", "actor", "callback", "since", "until", "key"}

func readAuditQuery(t typed, key callbackd.KeyID, errs formErrors) store.AuditQuery {
	q := store.AuditQuery{Key: key, Limit: pageRows}
	t.read(errs,
		request.Choice("action", &q.Action, callbackd.AuditActions),
		request.Choice("actor", &q.Kind, callbackd.ActorKinds),
		request.CallbackID("callback", &q.Target),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
	)
	return q
}

type auditPage struct {
	base
	scope
	list
	F        typed
	Filtered int // fields of the filter that are filled in
	Actions  []callbackd.AuditAction
	Kinds    []callbackd.ActorKind
	Rows     []auditRow
	State    *auditState
}

func (c *Console) audit(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	params := req.URL.Query()
	f := readTyped(params, auditFields...)
	p := &auditPage{
		base:     c.base(req, "audit", "Audit log"),
		scope:    s,
		list:     newList(link("audit"), f.values()),
		F:        f,
		Filtered: len(f.with("key", "")),
		Actions:  callbackd.AuditActions,
		Kinds:    callbackd.ActorKinds,
	}
	q := readAuditQuery(f, s.KeyID, p.Errors)
	p.Errors.add("", readCursor(&p.list, params, &q.After, readAuditCursor))
	p.refreshFirst(&p.list, 5)
	if len(p.Errors) > 0 {
		return c.render(w, http.StatusBadRequest, "audit", p)
	}
	page, err := c.Store.ListAudit(req.Context(), q)
	if err != nil {
		return err
	}
	p.State = c.auditState(req)
	for i := range page.Entries {
		e := &page.Entries[i]
		row := auditRow{AuditEntry: *e, Owner: s.owner(e.Key), Href: s.auditHref(e), Changes: callbackd.AuditDifferences(e)}
		row.Actor = view.AuditActor(e.Actor, !req.isOperator())
		p.Rows = append(p.Rows, row)
	}
	if page.Next.Number != 0 {
		p.setNext(auditCursorText(page.Next))
	}
	return c.render(w, http.StatusOK, "audit", p)
}

// auditHref returns the address of the page of what an entry is about.
func (s scope) auditHref(e *callbackd.AuditEntry) string {
	switch about, _, _ := strings.Cut(string(e.Action), "."); about {
	case "callback":
		if e.Action != callbackd.AuditCallbackDeleted {
			return link("callbacks", e.Target)
		}
	case "replay", "deliveries":
		return link("replays", e.Subject)
	case "delivery":
		return link("deliveries", e.Subject)
	case "session":
		if e.Action != callbackd.AuditSessionRemoved {
			return s.sessionHref(e.Key, e.Subject)
		}
	}
	return ""
}

// auditCursorText writes a cursor as a time in milliseconds, the number of the key and
// that of the entry.
func auditCursorText(at store.AuditCursor) string {
	return strconv.FormatInt(at.At.UnixMilli(), 10) + "-" + strconv.FormatInt(int64(at.Key), 10) + "-" + strconv.FormatInt(at.Number, 10)
}

func readAuditCursor(s string) (at store.AuditCursor, ok bool) {
	parts := strings.Split(s, "-")
	if len(parts) != 3 {
		return at, false
	}
	var numbers [3]int64
	for i := range numbers {
		n, err := strconv.ParseInt(parts[i], 10, 64)
		if err != nil {
			return at, false
		}
		numbers[i] = n
	}
	at = store.AuditCursor{At: time.UnixMilli(numbers[0]), Key: callbackd.KeyID(numbers[1]), Number: numbers[2]}
	return at, numbers[1] >= 0 && numbers[2] >= 1
}

package console

import (
	"net/http"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
)

type logRow struct {
	store.LogEntry
	Owner string
	Tone  string
}

// statusTones colour the status of a call by its class.
var statusTones = map[int]string{2: "ok", 4: "warn", 5: "bad"}

// logFields are the fields of the filter of calls.
var logFields = []string{"method", "path", "status", "since", "until", "key"}

// readLogQuery reads the filter of calls and notes its errors.
func readLogQuery(t typed, key callbackd.KeyID, errs formErrors) store.LogQuery {
	q := store.LogQuery{Key: key, Limit: pageRows}
	t.read(errs,
		request.Text("method", &q.Method, maxForm),
		request.Text("path", &q.Path, maxForm),
		request.Status("status", &q.Status),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
	)
	return q
}

type logsPage struct {
	base
	scope
	list
	F        typed
	Filtered int // fields of the filter that are filled in
	Rows     []logRow
}

func (c *Console) logs(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	params := req.URL.Query()
	f := readTyped(params, logFields...)
	p := &logsPage{
		base:     c.base(req, "logs", "API Logs"),
		scope:    s,
		list:     newList(link("logs"), f.values()),
		F:        f,
		Filtered: len(f.with("key", "")),
	}
	q := readLogQuery(f, s.KeyID, p.Errors)
	p.Errors.add("", readCursor(&p.list, params, &q.After, readLogCursor))
	p.refreshFirst(&p.list, 5)
	if len(p.Errors) > 0 {
		return c.render(w, http.StatusBadRequest, "logs", p)
	}
	page, err := c.Store.ListLogs(req.Context(), q)
	if err != nil {
		return err
	}
	for _, e := range page.Entries {
		p.Rows = append(p.Rows, logRow{e, s.owner(e.Key), statusTones[e.Status/100]})
	}
	if page.Next != (store.LogCursor{}) {
		p.setNext(logCursorText(page.Next))
	}
	return c.render(w, http.StatusOK, "logs", p)
}

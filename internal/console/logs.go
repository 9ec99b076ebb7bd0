package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/store"
)

type logRow struct {
	store.LogEntry
	Owner string
	Tone  string
}

type logsPage struct {
	base
	scope
	Method, Path, Status, Since, Until string
	Filtered                           int
	Rows                               []logRow
	First, Next                        string
}

// statusTones colour an answer; its number says it in words too.
var statusTones = map[int]string{2: "ok", 3: "", 4: "warn", 5: "bad"}

func (c *Console) logs(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	q := v.URL.Query()
	get := func(name string) string { return field(q.Get(name)) }
	p := &logsPage{base: c.base(v, "logs", "API Logs"), scope: s, Method: get("method"), Path: get("path"), Status: get("status"), Since: get("since"), Until: get("until")}
	filter := p.query()
	for name, value := range map[string]string{"method": p.Method, "path": p.Path, "status": p.Status, "since": p.Since, "until": p.Until} {
		if value != "" {
			filter.Set(name, value)
			p.Filtered++
		}
	}
	p.Wrong = wrong{}
	query := p.logQuery(get("after"))
	if len(p.Wrong) > 0 {
		return c.render(w, http.StatusBadRequest, "logs", p)
	}
	if query.After.ID == 0 {
		p.Refresh = 5
	} else {
		p.First = withValues(link("logs"), filter)
	}
	if err := c.listLogs(v, p, query, filter); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "logs", p)
}

// logQuery reads the filter, and notes all that is wrong in it.
func (p *logsPage) logQuery(after string) store.LogQuery {
	q := store.LogQuery{Method: p.Method, Path: p.Path, Limit: pageRows}
	var err error
	if p.Status != "" {
		q.Status, err = readStatus(p.Status)
		p.Wrong.add("status", err)
	}
	q.Since, err = parseTime(p.Since)
	p.Wrong.add("since", err)
	q.Until, err = parseTime(p.Until)
	p.Wrong.add("until", err)
	if after != "" {
		n, err := strconv.ParseInt(after, 10, 64)
		if err != nil || n < 1 {
			p.Wrong.add("", callbackd.Errorf(callbackd.KindInvalid, "This is not a place in the list; begin at its top."))
		}
		q.After.ID = store.LogID(n)
	}
	return q
}

// readStatus reads 503, 5xx or 5.
func readStatus(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.ToLower(s), "xx"))
	if err != nil || n < 1 || n > 599 || n > 5 && n < 100 {
		return 0, callbackd.Errorf(callbackd.KindInvalid, "A status is a number such as 503, or a class such as 5xx.")
	}
	return n, nil
}

// listLogs merges the pages of all keys in the scope.
func (c *Console) listLogs(v *visit, p *logsPage, query store.LogQuery, filter url.Values) error {
	var floor store.LogID // below it a key may have more than it gave
	for _, key := range p.all() {
		query.Key = key
		page, err := c.Store.ListLogs(v.Context(), query)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			p.Rows = append(p.Rows, logRow{e, p.owner(key), statusTones[e.Status/100]})
		}
		floor = max(floor, page.Next.ID)
	}
	slices.SortFunc(p.Rows, func(a, b logRow) int { return cmp.Compare(b.ID, a.ID) })
	for i, r := range p.Rows {
		if r.ID < floor || i == query.Limit {
			p.Rows = p.Rows[:i]
			if i > 0 {
				floor = max(floor, p.Rows[i-1].ID)
			}
			break
		}
	}
	if floor != 0 {
		filter.Set("after", fmt.Sprint(int64(floor)))
		p.Next = withValues(link("logs"), filter)
	}
	return nil
}

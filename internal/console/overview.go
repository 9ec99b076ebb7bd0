package console

import (
	"net/http"
	"net/url"
	"slices"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
)

// trouble is a callback that needs somebody, and why.
type trouble struct {
	*callbackd.Callback
	Health string
	Owner  string
	Why    []string
}

type overviewPage struct {
	base
	scope
	Tabs     []tab
	Reach    reach
	Sums     store.Counters
	Shares   shares
	Pending  string
	Overdue  string // empty: nothing is
	Longest  string // the longest wait
	Volume   *chart
	Latency  plot
	Success  plot
	From, To string
	Troubles []trouble
}

func (c *Console) overview(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	p := &overviewPage{base: c.base(v, "overview", "Overview"), scope: s, Reach: reaches[0]}
	p.Refresh = 5
	for _, r := range reaches {
		if r.Name == v.URL.Query().Get("over") {
			p.Reach = r
		}
	}
	for _, r := range reaches {
		q := url.Values{"over": {r.Name}}
		if s.Chosen != "" {
			q.Set("key", s.Chosen)
		}
		p.Tabs = append(p.Tabs, tab{r.Label, withValues(link(), q), r == p.Reach})
	}
	slots, err := c.slots(v, s.No, 0, p.Reach)
	if err != nil {
		return err
	}
	p.Sums = total(slots)
	p.Volume, p.Latency, p.Success = volume(slots, 1000, 100), latency(slots), success(slots)
	p.From, p.To = map[string]string{"hour": "an hour ago", "day": "24 hours ago", "week": "7 days ago"}[p.Reach.Name], "now"
	if err := c.attention(v, p); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "overview", p)
}

// backlogs is what several callbacks are owed together.
type backlogs struct {
	store.Backlog
	atLeast bool // one of them was not counted to its end
}

func (b *backlogs) add(one *store.Backlog) {
	b.Pending += one.Pending
	b.Overdue += one.Overdue
	b.atLeast = b.atLeast || one.Pending >= store.MaxPendingShown
	if !one.Since.IsZero() && (b.Since.IsZero() || one.Since.Before(b.Since)) {
		b.Since = one.Since
	}
}

// text writes a count: exactly, or that there are at least as many.
func (b *backlogs) text(n int) string {
	if b.atLeast {
		return unbroken("≥ " + num(n))
	}
	return num(n)
}

// attention fills in what waits and what needs somebody.
func (c *Console) attention(v *visit, p *overviewPage) error {
	now := c.now()
	q := store.HealthQuery{CertBefore: now.Add(callbacks.CertSoon), OverdueBefore: now.Add(-callbackd.OverdueAfter)}
	if q.Key = p.No; q.Key == store.AllKeys {
		q.Attention = true
	}
	page, err := c.Store.ListHealth(v.Context(), q)
	if err != nil {
		return err
	}
	hs := page.Callbacks
	waits := backlogs{atLeast: p.No == 0 && len(hs) >= store.MaxAttention} // there may be more callbacks
	for i := range hs {
		h := &hs[i]
		waits.add(&h.Backlog)
		if why := callbacks.Attention(h, now); len(why) > 0 {
			p.Troubles = append(p.Troubles, trouble{h.Callback, health(h.Callback), p.owner(h.Callback.Key), why})
		}
	}
	p.Pending, p.Shares = waits.text(waits.Pending), sharesOf(&p.Sums, waits.Overdue)
	if waits.Overdue > 0 {
		p.Overdue = waits.text(waits.Overdue)
	}
	if !waits.Since.IsZero() {
		p.Longest = span(now.Sub(waits.Since))
	}
	rank := map[string]int{"failing": 0, "paused": 1}
	slices.SortStableFunc(p.Troubles, func(a, b trouble) int {
		at := func(t trouble) int {
			if n, ok := rank[t.Health]; ok {
				return n
			}
			return 2
		}
		return at(a) - at(b)
	})
	return nil
}

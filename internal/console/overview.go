package console

import (
	"net/http"
	"slices"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// attentionItem is a callback that somebody should look at.
type attentionItem struct {
	*callbackd.Callback
	Health  string
	Owner   string
	Reasons []string
}

type overviewPage struct {
	base
	scope
	Tabs        []tab
	Range       timeRange
	Counters    store.Counters
	Rates       successRates
	Pending     string
	Overdue     string // empty when nothing is overdue
	LongestWait string
	Volume      *chart
	Latency     plot
	Success     plot
	Attention   []attentionItem
	First       *firstRun
}

func (c *Console) overview(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	p := &overviewPage{base: c.base(req, "overview", "Overview"), scope: s, Range: timeRanges[0]}
	p.Refresh = 5
	for _, r := range timeRanges {
		if r.Name == req.URL.Query().Get("over") {
			p.Range = r
		}
	}
	for _, r := range timeRanges {
		q := s.query()
		q.Set("over", r.Name)
		p.Tabs = append(p.Tabs, tab{r.Label, withValues(link(), q), r == p.Range})
	}
	buckets, err := c.buckets(req, s.KeyID, 0, p.Range)
	if err != nil {
		return err
	}
	p.Counters = view.SumOf(buckets)
	p.Volume = volumeChart(buckets, chartWidth, 100)
	p.Latency = latencyPlot(buckets)
	p.Success = successPlot(buckets)
	if err := c.fillAttention(req, p); err != nil {
		return err
	}
	if p.First, err = c.firstRun(req, s.KeyID, s.APIKey); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "overview", p)
}

// totalBacklog is the backlog of several callbacks together.
type totalBacklog struct {
	store.Backlog
	atLeast bool // not everything was counted
}

func (t *totalBacklog) add(b *store.Backlog) {
	t.Pending += b.Pending
	t.Overdue += b.Overdue
	t.atLeast = t.atLeast || b.Pending >= store.MaxPendingShown
	if !b.Since.IsZero() && (t.Since.IsZero() || b.Since.Before(t.Since)) {
		t.Since = b.Since
	}
}

// text writes a count: exactly, or that there are at least as many.
func (t *totalBacklog) text(n int) string {
	if t.atLeast {
		return noBreak("≥ " + humanize.Number(n))
	}
	return humanize.Number(n)
}

// fillAttention fills in the backlog and the callbacks that need attention.
func (c *Console) fillAttention(req *userRequest, p *overviewPage) error {
	now := c.now()
	q := store.HealthQuery{
		CallbackQuery: store.CallbackQuery{Key: p.KeyID},
		Attention:     p.KeyID == store.AllKeys,
		CertBefore:    now.Add(callbacks.CertSoon),
		OverdueBefore: now.Add(-callbackd.OverdueAfter),
	}
	page, err := c.Store.ListHealth(req.Context(), q)
	if err != nil {
		return err
	}
	// At the limit there may be more callbacks with a backlog.
	total := totalBacklog{atLeast: q.Attention && len(page.Callbacks) >= store.MaxAttention}
	for i := range page.Callbacks {
		h := &page.Callbacks[i]
		total.add(&h.Backlog)
		if reasons := callbacks.Attention(h, now); len(reasons) > 0 {
			p.Attention = append(p.Attention, attentionItem{h.Callback, health(h.Callback), p.owner(h.Callback.Key), reasons})
		}
	}
	slices.SortStableFunc(p.Attention, func(a, b attentionItem) int {
		return attentionRank(a.Health) - attentionRank(b.Health)
	})
	p.Pending = total.text(total.Pending)
	p.Rates = successRatesOf(&p.Counters, total.Overdue)
	if total.Overdue > 0 {
		p.Overdue = total.text(total.Overdue)
	}
	if !total.Since.IsZero() {
		p.LongestWait = duration(now.Sub(total.Since))
	}
	return nil
}

// attentionRank orders callbacks by how much they need attention.
func attentionRank(health string) int {
	switch health {
	case "failing":
		return 0
	case "paused":
		return 1
	}
	return 2
}

package console

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
)

// trouble is a webhook that needs somebody, and why.
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
	Sums     store.Sums
	Pending  int64
	More     bool // Pending is a floor
	Rate     string
	Oldest   string
	Volume   *chart
	Latency  plot
	Success  plot
	From, To string
	Troubles []trouble
	Webhooks int
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
	p.Rate = rate(p.Sums.Delivered, p.Sums.Delivered+p.Sums.Failed)
	p.Volume, p.Latency, p.Success = volume(slots, 1000, 100), latency(slots), success(slots)
	p.From, p.To = map[string]string{"hour": "an hour ago", "day": "24 hours ago", "week": "7 days ago"}[p.Reach.Name], "now"
	if err := c.attention(v, p); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "overview", p)
}

// attention fills in what waits and what needs somebody.
func (c *Console) attention(v *visit, p *overviewPage) error {
	now := c.now()
	hs, err := c.Store.ListHealth(v.Context(), p.No, store.HealthQuery{CertBefore: now.Add(callbacks.CertSoon)})
	if err != nil {
		return err
	}
	p.Webhooks = len(hs)
	var oldest time.Time
	for i := range hs {
		h := &hs[i]
		p.Pending += int64(h.Pending)
		p.More = p.More || h.Pending >= store.MaxPendingShown
		if !h.Since.IsZero() && (oldest.IsZero() || h.Since.Before(oldest)) {
			oldest = h.Since
		}
		if why := callbacks.Attention(h, now); len(why) > 0 {
			p.Troubles = append(p.Troubles, trouble{h.Callback, health(h.Callback), p.owner(h.Callback.Key), why})
		}
	}
	if !oldest.IsZero() {
		p.Oldest = span(now.Sub(oldest))
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

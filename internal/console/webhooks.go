package console

import (
	"net/http"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

type webhookRow struct {
	*callbackd.Callback
	store.Backlog
	Owner  string
	Health string
	Last   string // how its receiver failed last
	Shares shares
	Spark  *chart
}

type webhooksPage struct {
	base
	scope
	Rows []webhookRow
}

// health is a callback's state in a word.
func health(cb *callbackd.Callback) string {
	switch {
	case cb.Deleted():
		return "deleted"
	case cb.Paused():
		return "paused"
	case !cb.FailingSince.IsZero():
		return "failing"
	}
	return "healthy"
}

func (c *Console) webhooks(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	p := &webhooksPage{base: c.base(v, "webhooks", "Callbacks"), scope: s}
	p.Refresh = 10
	for _, key := range s.all() {
		page, err := c.Store.ListHealth(v.Context(), store.HealthQuery{CallbackQuery: store.CallbackQuery{Key: key}, OverdueBefore: c.now().Add(-callbackd.OverdueAfter)})
		if err != nil {
			return err
		}
		for _, h := range page.Callbacks {
			row := webhookRow{Callback: h.Callback, Owner: s.owner(key), Health: health(h.Callback), Backlog: h.Backlog}
			if row.Health == "healthy" && h.LastSuccess.IsZero() && h.LastFailure.IsZero() {
				row.Health = "new"
			}
			if !h.Callback.FailingSince.IsZero() {
				row.Last = view.LastFailure(&h.Receiver)
			}
			p.Rows = append(p.Rows, row)
		}
	}
	if err := c.rowStats(v, p.Rows); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "webhooks", p)
}

// callback is the one that the path names, when it may be seen.
func (c *Console) callback(v *visit) (*callbackd.Callback, *callbackd.Key, error) {
	no, err := strconv.ParseInt(v.PathValue("no"), 10, 64)
	if err != nil || no < 1 {
		return nil, nil, errNoPage
	}
	cb, err := c.Store.CallbackByID(v.Context(), callbackd.CallbackID(no))
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, nil, errNoPage
	}
	if err != nil {
		return nil, nil, err
	}
	key, err := c.keyOf(v.Context(), v, cb.Key)
	return cb, key, err
}

// ownerFor names the key of an object to the operator, who sees those of all.
func ownerFor(v *visit, k *callbackd.Key) string {
	if !v.operator() {
		return ""
	}
	return scope{}.KeyLabel(*k) + " (" + clip(k.APIKey, 8) + ")"
}

// inForce is callback for what changes it or sends to it.
func (c *Console) inForce(v *visit) (*callbackd.Callback, *callbackd.Key, error) {
	cb, key, err := c.callback(v)
	if err == nil && cb.Deleted() {
		err = errNoPage
	}
	return cb, key, err
}

var pauseWhy = map[callbackd.PauseReason]string{
	callbackd.PausedByUser:   "somebody asked for it.",
	callbackd.PausedGone:     "the receiver answered 410 Gone.",
	callbackd.PausedNoAnswer: "nothing succeeded for 5 days.",
}

type webhookPage struct {
	base
	CB        *callbackd.Callback
	Owner     string // its key, for the operator
	Health    string
	PauseWhy  string
	PausedFor string
	Payload   string
	Policy    callbackd.Policy
	Reach     time.Duration
	Steps     []float64
	Day       *chart
	Sums      store.Counters
	Shares    shares
	Backlog   store.Backlog
	Longest   string // the longest wait
	Failure   string // how its receiver failed last, in words, and when
	Turn      string // that it waits for others at its host
	Probe     time.Time
	Last      []owed
}

func (c *Console) webhook(w http.ResponseWriter, v *visit) error {
	cb, key, err := c.callback(v)
	if err != nil {
		return err
	}
	p := &webhookPage{Owner: ownerFor(v, key), base: c.base(v, "webhooks", "Callback "+string(cb.Event)), CB: cb, Health: health(cb), PauseWhy: pauseWhy[cb.Pause.Reason], Payload: string(cb.Payload), Policy: cb.Policy.WithDefaults()}
	p.Refresh = 5
	p.Steps, p.Reach = steps(p.Policy.Retry)
	page, err := c.Store.ListDeliveries(v.Context(), store.DeliveryQuery{Key: cb.Key, Callback: cb.ID, Limit: 8})
	if err != nil {
		return err
	}
	why := c.newWhy(v)
	st, err := why.callback(cb.ID)
	if err != nil {
		return err
	}
	p.Failure, p.Turn, p.Probe = st.Last, st.Turn, st.Probe
	if cb.Paused() {
		p.PausedFor = span(c.now().Sub(cb.Pause.At).Round(time.Second))
	}
	for _, d := range page.Deliveries {
		one, err := why.owed(d)
		if err != nil {
			return err
		}
		p.Last = append(p.Last, one)
	}
	if len(p.Last) == 0 && p.Health == "healthy" {
		p.Health = "new"
	}
	if err := c.webhookStats(v, p); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "webhook", p)
}

// steps places a schedule's attempts on a canvas of 1000, on a scale that
// gives seconds and days both room.
func steps(retry []time.Duration) (xs []float64, reach time.Duration) {
	for _, d := range retry {
		reach += d
	}
	var at time.Duration
	for _, d := range retry {
		at += d
		xs = append(xs, 8+984*squeeze(at, reach))
	}
	return xs, reach
}

func (c *Console) deleteWebhookPage(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "webhook-delete", &webhookPage{base: c.base(v, "webhooks", "Delete callback"), CB: cb})
}

func (c *Console) deleteWebhook(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err == nil {
		_, err = c.Store.DeleteCallback(v.Context(), cb.Key, cb.Event, cb.Name, c.now())
	}
	if err != nil {
		return err
	}
	c.Dispatcher.CallbackChanged(cb.ID)
	return see(w, v, link("webhooks"), "deleted")
}

func (c *Console) pauseWebhook(w http.ResponseWriter, v *visit) error {
	return c.setPause(w, v, callbackd.Pause{Reason: callbackd.PausedByUser, At: c.now()}, "paused")
}

func (c *Console) resumeWebhook(w http.ResponseWriter, v *visit) error {
	return c.setPause(w, v, callbackd.Pause{At: c.now()}, "resumed")
}

func (c *Console) setPause(w http.ResponseWriter, v *visit, pause callbackd.Pause, done string) error {
	cb, _, err := c.inForce(v)
	if err == nil {
		err = c.allowChange(v, cb.Key)
	}
	if err == nil {
		_, err = c.Store.PauseCallback(v.Context(), cb.Key, cb.Event, cb.Name, pause)
	}
	if err != nil {
		return err
	}
	c.Dispatcher.CallbackChanged(cb.ID)
	return see(w, v, link("webhooks", cb.ID), done)
}

type secretPage struct {
	base
	CB       *callbackd.Callback
	Secret   string
	Older    []time.Time
	Snippets []snippet
}

func (c *Console) secretPage(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err != nil {
		return err
	}
	p := &secretPage{base: c.base(v, "webhooks", "Signing secret"), CB: cb, Secret: cb.Secrets[0].Value.Reveal()}
	for _, s := range cb.Secrets[1:] {
		if c.now().Before(s.ExpiresAt) {
			p.Older = append(p.Older, s.ExpiresAt)
		}
	}
	p.Snippets = snippets(p.Secret, cb.URL)
	return c.render(w, http.StatusOK, "webhook-secret", p)
}

func (c *Console) rotateSecret(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err != nil {
		return err
	}
	keep, err := readKeep(v.PostFormValue("keep"))
	if err != nil {
		return err
	}
	if err := c.allowChange(v, cb.Key); err != nil {
		return err
	}
	now := c.now()
	if _, err = c.Store.RotateSecret(v.Context(), cb.Key, cb.Event, cb.Name, callbackd.Secret(signature.NewSecret()), now.Add(keep), now); err != nil {
		return err
	}
	c.Dispatcher.CallbackChanged(cb.ID)
	return see(w, v, link("webhooks", cb.ID, "secret"), "rotated")
}

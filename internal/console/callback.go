package console

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// pauseReasons say why a callback is paused.
var pauseReasons = map[callbackd.PauseReason]string{
	callbackd.PausedByUser:     "A person paused it.",
	callbackd.PausedGone:       "The receiver answered 410 Gone.",
	callbackd.PausedByReceiver: "The receiver asked for it (callback-control: pause).",
	callbackd.PausedNoAnswer:   "Nothing succeeded for 5 days.",
}

type callbackPage struct {
	base
	CB             *callbackd.Callback
	Owner          string // its key; for the operator only
	Health         string
	PauseReason    string
	PausedFor      string
	Payload        string
	Policy         callbackd.Policy
	SignIn         []string // how callbackd signs in
	OldAuthEnds    time.Time
	ScheduleSpan   time.Duration // from the first attempt to the last
	ScheduleDots   []dot
	Day            *chart
	Counters       store.Counters // of the last day
	Failures       []string       // what they say about attempts that failed
	Rates          successRates
	Backlog        store.Backlog
	LongestWait    string
	LastFailure    string // of its receiver
	WaitsForOthers string // that it shares its host's limit
	NextProbe      time.Time
	Deliveries     []deliveryRow
	First          *firstRun
}

// latestDeliveries is how many deliveries the page of a callback shows.
const latestDeliveries = 8

func (c *Console) callback(w http.ResponseWriter, req *userRequest) error {
	cb, key, err := c.callbackFromPath(req)
	if err != nil {
		return err
	}
	p := &callbackPage{
		base:        c.base(req, "callbacks", "Callback "+cmp.Or(string(cb.Event), safetext.Clip(safetext.Escape(cb.Session), 40))),
		CB:          cb,
		Owner:       ownerFor(req, key),
		Health:      health(cb),
		PauseReason: pauseReasons[cb.Pause.Reason],
		Payload:     string(cb.Payload),
		Policy:      cb.Policy.WithDefaults(),
	}
	p.SignIn = signInTexts(cb)
	if cb.OldAuth.InForce(c.now()) {
		p.OldAuthEnds = cb.OldAuth.EndsAt
	}
	p.Refresh = 5
	p.ScheduleDots, p.ScheduleSpan = scheduleDots(p.Policy.Retry)
	if cb.Paused() {
		p.PausedFor = duration(max(time.Second, c.now().Sub(cb.Pause.At).Round(time.Second)))
	}
	if err := c.fillDeliveries(req, p); err != nil {
		return err
	}
	if err := c.fillStats(req, p); err != nil {
		return err
	}
	if !cb.OfSession() {
		if p.First, err = c.firstRun(req, cb.Key, ""); err != nil {
			return err
		}
	}
	return c.render(w, http.StatusOK, "callback", p)
}

// fillDeliveries fills in the latest deliveries and what they say about the
// receiver.
func (c *Console) fillDeliveries(req *userRequest, p *callbackPage) error {
	rows := c.newRowBuilder(req)
	to, err := rows.receiverOf(p.CB.ID)
	if err != nil {
		return err
	}
	p.LastFailure, p.WaitsForOthers, p.NextProbe = to.LastFailure, to.WaitsForOthers, to.NextProbe
	page, err := c.Store.ListDeliveries(req.Context(), store.DeliveryQuery{Key: p.CB.Key, Callback: p.CB.ID, Limit: latestDeliveries})
	if err != nil {
		return err
	}
	p.Deliveries, err = rows.rows(page.Deliveries)
	if len(p.Deliveries) == 0 && p.Health == "healthy" {
		p.Health = "new"
	}
	return err
}

// fillStats fills in the counters of the last day and the backlog.
func (c *Console) fillStats(req *userRequest, p *callbackPage) error {
	buckets, err := c.buckets(req, p.CB.Key, p.CB.ID, lastDay)
	if err != nil {
		return err
	}
	now := c.now()
	p.Counters = view.SumOf(buckets)
	p.Failures = view.FailureTexts(&p.Counters)
	p.Day = failureChart(buckets, lastDay, lastDay.Since(now), p.CB.FailingSince, 960, 100)
	health, err := c.Store.Health(req.Context(), p.CB.ID, store.PendingQuery{
		OverdueBefore: now.Add(-callbackd.OverdueAfter),
		Limit:         store.MaxPendingShown,
	})
	p.Backlog = health.Backlog
	p.Rates = successRatesOf(&p.Counters, p.Backlog.Overdue)
	if !p.Backlog.Since.IsZero() {
		p.LongestWait = duration(now.Sub(p.Backlog.Since))
	}
	return err
}

// scheduleDots draws the attempts of a retry schedule on a line of time, and
// returns how long the line is.
func scheduleDots(retry []time.Duration) (dots []dot, span time.Duration) {
	for _, delay := range retry {
		span += delay
	}
	var at time.Duration
	for _, delay := range retry {
		at += delay
		dots = append(dots, dotAt(logScale(at, span), "s-accent"))
	}
	return dots, span
}

// signInTexts says how callbackd signs in at the receiver of a callback, without secrets.
func signInTexts(cb *callbackd.Callback) (texts []string) {
	a := cb.Policy.Auth
	if a == nil {
		return nil
	}
	switch {
	case a.OAuth2 != nil:
		text := fmt.Sprintf("OAuth 2.0: tokens of %s for the client %s", safetext.Replace(a.OAuth2.TokenURL), safetext.Replace(a.OAuth2.ClientID))
		if a.OAuth2.Scope != "" {
			text += ", scope " + safetext.Replace(a.OAuth2.Scope)
		}
		texts = append(texts, text)
	case a.Basic != nil:
		texts = append(texts, "Basic: the user "+safetext.Replace(a.Basic.Username))
	case a.Bearer != nil:
		texts = append(texts, "Bearer: a fixed token")
	}
	if a.TLS == nil {
		return texts
	}
	if ends := callbacks.ClientCertEnds(cb); !ends.IsZero() {
		texts = append(texts, "Client certificate, valid until "+humanize.Time(ends))
	}
	if a.TLS.CA != "" {
		texts = append(texts, "Certificate authorities of its own")
	}
	if a.TLS.ServerName != "" {
		texts = append(texts, "Name in the receiver's certificate: "+safetext.Replace(a.TLS.ServerName))
	}
	return texts
}

package view

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Event returns an accepted event with the IDs of its deliveries.
func Event(ev *callbackd.Event) wire.Event {
	out := wire.Event{ID: ev.ID.String(), Event: string(ev.Type), SessionKey: ev.Session, Sequence: ev.Sequence,
		AcceptedAt: ev.Accepted(), DeliverAt: timeOrNull(ev.DeliverAt), ExpiresAt: timeOrNull(ev.ExpiresAt), Test: ev.Test, Data: ev.Data, Deliveries: []string{}, Withheld: []wire.Withheld{}}
	for _, cb := range ev.Targets {
		out.Deliveries = append(out.Deliveries, callbackd.DeliveryID{Event: ev.ID, Callback: cb}.String())
	}
	out.ErasedAt = timeOrNull(ev.ErasedAt)
	if ev.Trace != nil {
		out.TraceID = ev.Trace.IDText()
	}
	for _, w := range ev.Withheld {
		out.Withheld = append(out.Withheld, wire.Withheld{Callback: int64(w.Callback), Term: w.Term})
	}
	return out
}

// Replay returns a replay with its counts.
func Replay(r *callbackd.Replay) wire.Replay {
	out := wire.Replay{ID: r.ID.String(), Action: "resend", State: string(r.State), States: []string{}, Event: string(r.Filter.Type), Callback: int64(r.Filter.Callback), SessionKey: r.Filter.Session,
		Since: timeOrNull(r.Filter.Since), Until: timeOrNull(r.Filter.Until), Target: int64(r.Filter.Target), Missing: r.Filter.Missing, Rate: r.Rate, CreatedAt: r.CreatedAt, EndedAt: timeOrNull(r.EndedAt),
		Total: r.Total, Due: r.Due, Skipped: r.Skipped, Created: r.Created, Pending: r.Pending(), Delivered: r.Delivered, Failed: r.Failed, Canceled: r.Canceled}
	if c := r.Cancel; c != nil {
		out.Action, out.By, out.Reason = "cancel", c.By, c.Reason
	}
	for _, s := range r.Filter.States {
		out.States = append(out.States, string(s))
	}
	return out
}

// Log returns an entry of the log of calls. The duration of an entry for
// several calls is their average.
func Log(e *store.LogEntry) wire.Log {
	n := max(e.Count, 1)
	return wire.Log{At: e.At, Method: e.Method, Path: e.Path, Status: e.Status, Duration: float64(e.Duration.Microseconds()) / float64(n) / 1000,
		Message: e.Message, Address: e.Address, Count: n}
}

// Callback returns a callback. When mask is set, the values of its headers are masked.
func Callback(cb *callbackd.Callback, mask bool) wire.Callback {
	out := wire.Callback{Event: string(cb.Event), URL: cb.URL, Method: cb.Method, Headers: wire.Headers{}, Payload: cb.Payload}
	for _, h := range cb.Headers {
		value := h.Value.Reveal()
		if mask {
			value = callbackd.Mask
		}
		out.Headers = append(out.Headers, wire.Header{Name: h.Name, Value: value})
	}
	switch {
	case cb.OfSession():
		out.ID, out.SessionKey, out.Events = int64(cb.ID), cb.Session, cb.EventNames()
	case cb.Name != callbackd.DefaultName:
		out.Name = cb.Name
	}
	return out
}

// Policy returns the policy of a callback with its defaults, and whether the callback is
// paused or closed at now.
func Policy(cb *callbackd.Callback, apiKey string, now time.Time) wire.Policy {
	p := cb.Policy.WithDefaults()
	out := wire.Policy{
		APIKey: apiKey, Event: string(cb.Event), Name: cb.Name, Callback: int64(cb.ID),
		Timeout: p.Timeout.String(), Order: p.OrderWait.String(), Rate: p.Rate, Concurrency: p.Concurrency, KeepAlive: !p.NoKeepAlive, StoreResponse: !p.NoResponse, OrderGroup: p.OrderGroup, Format: string(p.Format),
		Paused: cb.Paused(), PauseReason: string(cb.Pause.Reason), PausedAt: timeOrNull(cb.Pause.At),
		ClosedUntil: timeOrNull(cb.StillClosed(now)), Auth: Auth(cb.Policy.Auth),
	}
	if cb.OldAuth.InForce(now) {
		out.OldAuthEnds = timeOrNull(cb.OldAuth.EndsAt)
	}
	for _, delay := range p.Retry {
		out.Retry = append(out.Retry, delay.String())
	}
	if p.Expect != 0 {
		out.Expect = callbackd.FormatDuration(p.Expect)
	}
	if p.TTL != 0 {
		out.TTL = callbackd.FormatDuration(p.TTL)
	}
	for _, scheme := range p.Signing {
		out.Signing = append(out.Signing, string(scheme))
	}
	if p.Filter != nil {
		out.Filter = []byte(p.Filter.String())
	}
	if p.Fields != nil {
		out.Fields = []byte(p.Fields.String())
	}
	return out
}

// Auth returns how a callback signs in, with its secrets masked.
func Auth(a *callbackd.Auth) (out wire.Auth) {
	if a == nil {
		return out
	}
	if o := a.OAuth2; o != nil {
		out.OAuth2 = &wire.OAuth2{TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecret: callbackd.Mask, Scope: o.Scope, Audience: o.Audience, Style: string(o.Style)}
	}
	if a.Basic != nil {
		out.Basic = &wire.BasicAuth{Username: a.Basic.Username, Password: callbackd.Mask}
	}
	if a.Bearer != nil {
		out.Bearer = &wire.BearerAuth{Token: callbackd.Mask}
	}
	if t := a.TLS; t != nil {
		out.TLS = &wire.ClientTLS{Cert: t.Cert, CA: t.CA, ServerName: t.ServerName}
		if t.Key != "" {
			out.TLS.Key = callbackd.Mask
		}
	}
	return out
}

// AuthTest returns what came back when callbackd tried to sign in.
func AuthTest(t callbackd.AuthTest) wire.AuthTest {
	out := wire.AuthTest{OK: t.OK()}
	if t.Token != nil {
		out.Token = &wire.TokenTest{Status: t.Token.Status, Error: t.Token.Error, Type: t.Token.Type, ExpiresIn: int64(t.Token.Life.Seconds()), Scope: t.Token.Scope}
	}
	if t.TLS != nil {
		out.TLS = &wire.TLSTest{Error: t.TLS.Error, CertEnds: timeOrNull(t.TLS.CertEnds)}
	}
	return out
}

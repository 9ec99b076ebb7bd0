// Package view turns domain values into what is shown, and explains deliveries. The API
// and the console use it, so that both show the same.
package view

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Preview builds the request that attempt n sends or has sent. It contains secrets, which
// must be redacted before it is shown.
type Preview func(cb *callbackd.Callback, ev *callbackd.Event, n int, at time.Time) (*callbackd.Request, error)

// Deliveries has the methods of the store that [Describe] needs.
type Deliveries interface {
	Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*store.DeliveryView, error)
	CallbackVersion(ctx context.Context, id callbackd.CallbackID, version int64) (*callbackd.Callback, error)
}

// Delivery returns a delivery without its attempts.
func Delivery(v *store.DeliveryView) wire.Delivery {
	return wire.Delivery{ID: v.ID.String(), EventID: v.Event.ID.String(), Event: string(v.Event.Type), SessionKey: v.Event.Session, Sequence: v.Event.Sequence,
		Callback: int64(v.ID.Callback), CallbackName: v.Callback.Name, State: string(v.State), Attempts: v.Attempts, AcceptedAt: v.Event.Accepted(),
		NextAttempt: timeOrNull(v.Due), ExpiresAt: timeOrNull(v.ExpiresAt), Repeated: v.Manual, Test: v.Event.Test}
}

// largeBody is the size in bytes above which a page of attempts has equal bodies of
// requests only once.
const largeBody = 4 << 10

// Describe returns a delivery of the key with a page of its attempts: the newest ones, or
// those before the attempt with the number before, when that is not 0. A large body is
// shown with the first attempt that sent it. Other attempts refer to that attempt.
func Describe(ctx context.Context, from Deliveries, preview Preview, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*wire.Delivery, error) {
	v, err := from.Delivery(ctx, key, id, before)
	if err != nil {
		return nil, err
	}
	out := Delivery(v)
	if len(v.History) > 0 && v.History[0].Number > 1 {
		out.Earlier = v.History[0].Number
	}
	if c := v.Unsent; c != nil {
		row := &wire.Cancellation{At: c.StartedAt.UTC(), Why: c.Why}
		if v.State == callbackd.Expired {
			out.Expiry = row
		} else {
			out.Cancellation = row
		}
	}
	out.History = []wire.Attempt{} // so that the JSON has an empty array
	versions := map[int64]*callbackd.Callback{}
	for i := range v.History {
		at := &v.History[i]
		cb := versions[at.Version]
		if cb == nil {
			if cb, err = from.CallbackVersion(ctx, id.Callback, at.Version); err != nil {
				return nil, err
			}
			versions[at.Version] = cb
		}
		one, err := attempt(preview, cb, v.Event, at)
		if err != nil {
			return nil, err
		}
		one.Repeat = i > 0 && v.History[i-1].State.Terminal()
		for j := range out.History { // nearly always, the first attempt has the same body
			if sent := &out.History[j]; len(one.Request.Body) > largeBody && sent.Request.Body == one.Request.Body {
				one.Request.Body, one.Request.BodyOf = "", sent.Number
				break
			}
		}
		out.History = append(out.History, one)
	}
	return &out, nil
}

func attempt(preview Preview, cb *callbackd.Callback, ev *callbackd.Event, at *callbackd.Attempt) (wire.Attempt, error) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	req, err := preview(cb, ev, at.Number, at.StartedAt)
	if err != nil {
		return wire.Attempt{}, err
	}
	out := wire.Attempt{Number: at.Number, StartedAt: at.StartedAt, Address: at.Address, Reused: at.Reused,
		Timings: wire.Timings{DNS: ms(at.Timings.DNS), Connect: ms(at.Timings.Connect), TLS: ms(at.Timings.TLS), FirstByte: ms(at.Timings.FirstByte), Total: ms(at.Timings.Total)},
		Request: wire.Request{Method: req.Method, URL: req.URL.String(), Headers: Redact(req.Headers, cb, true), Body: string(req.Body)},
		Fault:   string(at.Fault), Error: at.Error, State: string(at.State), Why: at.Why, Next: timeOrNull(at.Due)}
	if out.Capture = string(at.Capture); ev.IsErased() {
		out.Capture = string(callbackd.CaptureErased)
		out.Request = wire.Request{Method: req.Method, URL: cb.URL, Headers: wire.Headers{}}
	}
	if at.Status != 0 {
		out.Response = &wire.Response{Status: at.Status, Headers: at.Headers, Body: string(at.Body), Encoding: "utf-8", Size: at.BodySize,
			Truncated: at.Truncated, Location: at.Location, RetryAfter: at.RetryAfter}
		if !utf8.Valid(at.Body) {
			out.Response.Body, out.Response.Encoding = base64.StdEncoding.EncodeToString(at.Body), "base64"
		}
	}
	return out, nil
}

// Redact returns the headers of a request as they are on the wire, with the values of
// the callback's own headers masked. sent says that the request was sent: its signatures
// are masked too, because the secrets may have been rotated since.
func Redact(headers []callbackd.Header, cb *callbackd.Callback, sent bool) wire.Headers {
	out := make(wire.Headers, 0, len(headers))
	for _, h := range headers {
		v := h.Value.Reveal()
		own := slices.ContainsFunc(cb.Headers, func(o callbackd.Header) bool { return strings.EqualFold(o.Name, h.Name) })
		if own || sent && strings.HasSuffix(h.Name, "-signature") {
			v = callbackd.Mask
		}
		out = append(out, wire.Header{Name: h.Name, Value: v})
	}
	return out
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

package exam

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/signature"
)

// Sizes of cases.
const (
	sessionsAtOnce   = 8
	eventsPerSession = 3
	slowPieces       = 4
)

// unknownEvent is a type that no receiver knows.
const unknownEvent callbackd.EventType = "EXAM:UNKNOWN"

// testCase is a case of the exam.
type testCase struct {
	name, remedy, check string
	run                 func(ctx context.Context, e *examiner) []Request
}

// cases are the cases in the order in which they are sent. The first one decides whether
// the others are sent.
var cases = []testCase{
	{"good callback", "Answer 2xx, within the timeout, to a request that is signed with the secret. Sign the raw bytes of the body, before any JSON parser, and compare with the part of webhook-signature after \"v1,\".", "", good},
	{"duplicate", "Answer 2xx to an event that you have already. Any other answer is a failure, and callbackd sends it once more.", "The event is stored once.", duplicate},
	{"out of order", "Answer 2xx to an event whose callback-sequence is lower than the last one of its session: it can come late after failures. Do not let it overwrite what is newer.", "The state of the session is that of its event 2.", outOfOrder},
	{"wrong signature", "Compute the signature of the raw body with the secret, compare it in constant time, and answer 401 when webhook-signature is missing or has no equal part. Without that, anyone can send events.", "No event of this session is stored.", wrongSignature},
	{"old timestamp", "Answer 401 when webhook-timestamp is more than 5 minutes from now, also when the signature is right. Otherwise a request that someone recorded can be sent again at any time.", "No event of this session is stored.", oldTimestamp},
	{"unknown event", "Answer 2xx to an event that you do not know or need. Otherwise callbackd repeats it, and new types of events become failures.", "", unknown},
	{"large body", "Accept bodies of 512 KiB: events have up to 256 KiB of data, and the callback's payload comes on top. Web servers and frameworks often have a smaller limit.", "", large},
	{"slow body", "Read the body until its Content-Length is complete: it can arrive in pieces, with time between them. One read does not return all of it.", "", slow},
	{"concurrent sessions", "Answer 2xx to requests of several sessions at the same time. callbackd sends the events of one session one after the other, and those of others beside them. If you cannot, set policy.concurrency of the callback to 1.", "The events of each session are stored in order.", concurrent},
	{"several signatures", "Accept the request when any of the signatures in webhook-signature, which spaces separate, is right. While a secret is rotated there is one for the new and one for the old secret, in either order.", "", rotation},
	{"test event", "Answer 2xx to a request with callback-test: true when its signature is right. The console's test button sends it.", "The test is not taken for a real session.", testEvent},
}

// sample returns data for an event of the type.
func sample(t callbackd.EventType) []byte {
	if data := session.Sample(t); data != nil {
		return data
	}
	return []byte("{}")
}

func newSession() string { return callbackd.NewSessionKey("exam") }

func good(ctx context.Context, e *examiner) []Request {
	return []Request{e.deliver(ctx, "signed, first attempt", e.event(newSession(), 1, sample(e.Event)), 1)}
}

func duplicate(ctx context.Context, e *examiner) []Request {
	ev := e.event(newSession(), 1, sample(e.Event))
	return []Request{e.deliver(ctx, "first attempt", ev, 1), e.deliver(ctx, "the same event, attempt 2", ev, 2)}
}

func outOfOrder(ctx context.Context, e *examiner) []Request {
	key := newSession()
	first, second := e.event(key, 1, sample(e.Event)), e.event(key, 2, sample(e.Event))
	return []Request{e.deliver(ctx, "event 2 of a session", second, 1), e.deliver(ctx, "event 1 of it, late", first, 2)}
}

func wrongSignature(ctx context.Context, e *examiner) []Request {
	key, now := newSession(), time.Now()
	var out []Request
	forge := func(sequence int64, text, secret string, change func(*callbackd.Request)) {
		out = append(out, e.forged(ctx, text, e.event(key, sequence, sample(e.Event)), secret, now, change))
	}
	forge(1, "signed with another secret", signature.NewSecret(), nil)
	forge(2, "body changed after it was signed", e.Secret, func(r *callbackd.Request) {
		// Other bytes, and still the same JSON members for a receiver that does not look.
		r.Body = slices.Concat(r.Body[:len(r.Body)-1], []byte(`,"forged":true}`))
	})
	forge(3, "webhook-id changed after it was signed", e.Secret, func(r *callbackd.Request) {
		setHeader(r, "webhook-id", e.event(key, 3, nil).ID.String())
	})
	forge(4, "no webhook-signature", e.Secret, func(r *callbackd.Request) {
		r.Headers = slices.DeleteFunc(r.Headers, func(h callbackd.Header) bool { return h.Name == "webhook-signature" })
	})
	forge(5, "empty webhook-signature", e.Secret, func(r *callbackd.Request) { setHeader(r, "webhook-signature", "v1,") })
	return out
}

func setHeader(r *callbackd.Request, name, value string) {
	for i := range r.Headers {
		if r.Headers[i].Name == name {
			r.Headers[i].Value = callbackd.Secret(value)
		}
	}
}

func oldTimestamp(ctx context.Context, e *examiner) []Request {
	key := newSession()
	return []Request{
		e.forged(ctx, "signed an hour ago", e.event(key, 1, sample(e.Event)), e.Secret, time.Now().Add(-time.Hour), nil),
		e.forged(ctx, "signed for a time in an hour", e.event(key, 2, sample(e.Event)), e.Secret, time.Now().Add(time.Hour), nil),
	}
}

func unknown(ctx context.Context, e *examiner) []Request {
	ev := e.event(newSession(), 1, []byte(`{"exam":true}`))
	ev.Type = unknownEvent
	return []Request{e.deliver(ctx, "event "+string(unknownEvent), ev, 1)}
}

func large(ctx context.Context, e *examiner) []Request {
	data := sample(e.Event)
	padding, _ := json.Marshal(map[string]string{"exam_padding": strings.Repeat("x", callbackd.MaxEventData-len(data)-64)})
	if members := bytes.TrimSpace(data); len(members) > len("{}") {
		padding = slices.Concat(members[:len(members)-1], []byte(","), padding[1:])
	}
	return []Request{e.deliver(ctx, fmt.Sprintf("event with %d bytes of data", len(padding)), e.event(newSession(), 1, padding), 1)}
}

func slow(ctx context.Context, e *examiner) []Request {
	return []Request{e.inPieces(ctx, "body in four pieces", e.event(newSession(), 1, sample(e.Event)), slowPieces)}
}

func concurrent(ctx context.Context, e *examiner) []Request {
	out := make([][]Request, sessionsAtOnce)
	var all sync.WaitGroup
	for i := range out {
		all.Go(func() {
			key := newSession()
			for n := range int64(eventsPerSession) {
				text := fmt.Sprintf("session %d of %d, event %d", i+1, sessionsAtOnce, n+1)
				out[i] = append(out[i], e.deliver(ctx, text, e.event(key, n+1, sample(e.Event)), 1))
			}
		})
	}
	all.Wait()
	return slices.Concat(out...)
}

func rotation(ctx context.Context, e *examiner) []Request {
	key, other := newSession(), signature.NewSecret()
	return []Request{
		e.deliverSigned(ctx, "signed with another secret and with yours", e.event(key, 1, sample(e.Event)), 1, other, e.Secret),
		e.deliverSigned(ctx, "signed with yours and with another secret", e.event(key, 2, sample(e.Event)), 1, e.Secret, other),
	}
}

func testEvent(ctx context.Context, e *examiner) []Request {
	ev := e.event(session.SampleKey, 1, sample(e.Event))
	ev.Test = true
	return []Request{e.deliver(ctx, "callback-test: true", ev, 1)}
}

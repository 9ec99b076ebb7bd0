package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/sender"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/internal/view"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

// refused checks that a refusal is one that a client can act on.
func refused(t *testing.T, err error) {
	t.Helper()
	if k := callbackd.KindOf(err); k != callbackd.KindInvalid && k != callbackd.KindTooLarge {
		t.Errorf("kind %d: %v", k, err)
	}
	var e *callbackd.Error
	if e, _ = err.(*callbackd.Error); e == nil {
		t.Fatalf("the refusal is %T, %v, want a *callbackd.Error", err, err)
	}
	if n := len(e.Message); n == 0 || n > 2000 {
		t.Errorf("the message has %d bytes, want 1 to 2,000: %s", n, e.Message)
	}
}

// What is accepted reads back equal from what the API answers.
func FuzzCallbackBody(f *testing.F) {
	for _, s := range []string{
		`{"event":"SESSION:COMPLETE","url":"https://a.example/"}`,
		`{"event":"SESSION:COMPLETE","url":"HTTP://BÜCHER.example:80/a|b?x=1","method":"get","headers":{"A":"1","b":2,"C":true},"payload":{"x":1e400},"name":"n.1"}`,
		`{"event":"SESSION:NOTE_INSERT","url":"http://[2001:db8::1]:8080/","headers":"{\"A\":\"x y\"}","payload":" {\"a\":{}} "}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","timeout":"1.5s","retry":[0,"5s",7.25],"order":0,"rate":0.001,"concurrency":256}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","rate":-0,"order":"-0s","headers":null,"payload":null}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"Host":"x"}}`,
		`{"event":"SESSION:COMPLETE","url":"https://a@b.example/"}`,
		`{"url":"https://a.example/","url":"https://b.example/"}`,
		`{"event":"\ud800"}`, `[]`, ``, `{"a":[[[[[[]]]]]]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		members, err := strictjson.Object(body)
		if err != nil {
			return
		}
		b, err := callbacks.Read(request.Members(members), true, nil)
		if err != nil {
			refused(t, err)
			return
		}
		a := &API{}
		shown, err := marshal(a.show(&b))
		if err != nil {
			t.Fatal(err)
		}
		var again wire.Callback
		if err := json.Unmarshal(shown, &again); err != nil {
			t.Fatalf("%v in %s", err, shown)
		}
		members, err = strictjson.Object(shown)
		if err != nil {
			t.Fatalf("%v in %s", err, shown)
		}
		back, err := callbacks.Read(request.Members(members), true, nil)
		if err != nil {
			t.Fatalf("%v in %s", err, shown)
		}
		back.Policy = b.Policy // shown elsewhere
		if back.Event != b.Event {
			t.Errorf("the event is read back as %s, want %s", back.Event, b.Event)
		}
		if back.Name != b.Name {
			t.Errorf("the name is read back as %q, want %q", back.Name, b.Name)
		}
		if !sameSetting(&back, &b) {
			t.Errorf("%s reads back as %s", body, shown)
		}
		policy := view.Policy(&b, "", time.Time{})
		raw, err := json.Marshal(map[string]any{"event": b.Event, "url": b.URL, "timeout": policy.Timeout, "retry": policy.Retry, "order": policy.Order, "rate": policy.Rate, "concurrency": policy.Concurrency})
		if err != nil {
			t.Fatal(err)
		}
		members, err = strictjson.Object(raw)
		if err != nil {
			t.Fatal(err)
		}
		back, err = callbacks.Read(request.Members(members), true, nil)
		if err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		back.Method, back.Headers, back.Payload = b.Method, b.Headers, b.Payload
		if !sameSetting(&back, &b) {
			t.Errorf("the policy of %s reads back as %s", body, raw)
		}
	})
}

// What is accepted is kept byte for byte and can be sent.
func FuzzEventBody(f *testing.F) {
	for _, s := range []string{
		`{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","data":{"a":0.1,"b":[1e400]}}`,
		`[{"event":"SESSION:COMPLETE","session_key":"S","id":"x"},{"event":"SESSION:NOTE_INSERT","session_key":"~","data":null}]`,
		`{"event":"SESSION:COMPLETE","session_key":"S","data":{"event":1,"session_key":[],"test":{}}}`,
		`{"event":"SESSION:COMPLETE","session_key":"S","data":{"\u0061":1,"a":2}}`,
		"{\"event\":\"SESSION:COMPLETE\",\"session_key\":\"\xff\"}", `[[]]`, `[]`, ` `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var evs []store.NewEvent
		var err error
		if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
			evs, err = readEvents(body, time.Now())
		} else {
			evs = make([]store.NewEvent, 1)
			err = readEvent(body, &evs[0], time.Now())
		}
		if err != nil {
			refused(t, err)
			return
		}
		for i := range evs {
			ev := &evs[i]
			if string(ev.Data) != "{}" && !bytes.Contains(body, ev.Data) {
				t.Errorf("data %s is not what was sent", ev.Data)
			}
			raw := append([]byte(`{"data":`), ev.Data...)
			raw = strictjson.AppendString(append(raw, `,"id":`...), ev.Idempotency)
			raw = strictjson.AppendString(append(raw, `,"session_key":`...), ev.Session)
			raw = append(strictjson.AppendString(append(raw, `,"event":`...), string(ev.Type)), '}')
			var back store.NewEvent
			if err := readEvent(raw, &back, time.Now()); err != nil {
				t.Fatalf("%v in %s", err, raw)
			}
			want := []string{string(ev.Type), ev.Session, ev.Idempotency, string(ev.Data)}
			got := []string{string(back.Type), back.Session, back.Idempotency, string(back.Data)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("type, session, idempotency key and data that are read back (-want +got):\n%s", diff)
			}
			sent, err := sender.Body(&callbackd.Event{Type: ev.Type, Session: ev.Session, Data: ev.Data}, nil, []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := strictjson.Object(sent); err != nil {
				t.Errorf("%v in %s", err, sent)
			}
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"state=failed&event=SESSION:COMPLETE&session_key=a%20b&callback=7&since=2026-01-02T15:04:05Z&until=1767366245&limit=200&cursor=dlv_0000000000001-1",
		"since=Sun,%2030%20May%202021%2012:49:19%20GMT", "cursor=dlv_7zzzzzzzzzzzz-0", "cursor=evt_0000000000001", "limit=+5", "a;b", "%zz", "state=&state=", "since=0001-01-01T00:00:00Z",
	} {
		f.Add(s)
	}
	read := func(query string) (q store.DeliveryQuery, err error) {
		fields := deliveryFields(&q)
		params, err := request.Query(query, request.Names(fields))
		if err != nil {
			return q, err
		}
		err = params.Read(fields...)
		return q, err
	}
	f.Fuzz(func(t *testing.T, query string) {
		got, err := read(query)
		if err != nil {
			refused(t, err)
			return
		}
		if got.Limit < 1 || got.Limit > store.MaxPage {
			t.Errorf("limit is %d", got.Limit)
		}
		if got.Callback < 0 {
			t.Errorf("callback is %d", got.Callback)
		}
		q := queryOf(&got)
		back, err := read(q.Encode())
		if err != nil {
			t.Fatalf("%v in %s", err, q.Encode())
		}
		sameTime := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) || max(a.Year(), b.Year()) >= 10_000 })
		if diff := cmp.Diff(got, back, sameTime); diff != "" {
			t.Errorf("%s reads back with a difference: -first +back\n%s", query, diff)
		}
	})
}

// queryOf writes a query as a client would.
func queryOf(got *store.DeliveryQuery) url.Values {
	q := url.Values{"limit": {strconv.Itoa(got.Limit)}, "state": {string(got.State)}, "event": {string(got.Type)}, "session_key": {got.Session}, "fault": {string(got.Fault)}}
	if got.Callback != 0 {
		q.Set("callback", strconv.FormatInt(int64(got.Callback), 10))
	}
	if got.After.Event != 0 {
		q.Set("cursor", got.After.String())
	}
	switch {
	case got.Status > 5:
		q.Set("status", strconv.Itoa(got.Status))
	case got.Status > 0:
		q.Set("status", strconv.Itoa(got.Status)+"xx")
	}
	for name, at := range map[string]time.Time{"since": got.Since, "until": got.Until} {
		if !at.IsZero() && at.Year() < 10_000 {
			q.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	return q
}

// What is accepted as a session reads back equal from what the API answers.
func FuzzSessionBody(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{}`, `{"vehicle":{"vin":"JN1CV6AR9BMXXXXXX","year":"2017"},"sms":{"to":1},"options":[]}`, `{"vin":"JN1CV6AR9BM123456","theme":"lite","language":"pt-br"}`,
		`{"session":{"session":{"vin":"x"}},"redirect_url":"HTTPS://a.example/%zz"}`, `{"options":{"reference":1e400,"contact":{"first_name":" é "}},"source":{"type":"API","properties":{}}}`,
		`{"options":{"options":{"options":[]}},"sms":null,"year":-0}`, `{"reference":"\u2028</script>"}`, `{"vehicle_id":9007199254740993}`, `[`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(s))
	}
	key := &callbackd.Key{Account: "acme"}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	object := func(body []byte) (request.Object, error) {
		_, o, err := request.Body{JSON: body}.Object()
		if err != nil {
			return o, err
		}
		return o.Lenient().Flatten(containers)
	}
	read := func(body []byte) (*callbackd.Session, error) {
		o, err := object(body)
		if err != nil {
			return nil, err
		}
		s := session.New(key, now)
		s.SessionKey = "ACM-0123456789"
		return s, o.Read(newSessionFields(s)...)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := read(body)
		if err != nil {
			refused(t, err)
			return
		}
		shown, err := marshal(view.Session(s, ""))
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(shown)
		if err != nil {
			t.Fatalf("%v in %s", err, shown)
		}
		back, err := marshal(view.Session(again, ""))
		if err != nil || !bytes.Equal(shown, back) {
			t.Errorf("%s reads back as %s, %v", shown, back, err)
		}
		o, err := object(body)
		if err != nil {
			t.Fatal(err)
		}
		_, photo := readPhoto(o)
		_, note := readNote(o)
		_, sms := readSMSReport(o)
		_, update := readUpdate(o)
		for _, err := range []error{photo, note, sms, update} {
			if err != nil {
				refused(t, err)
			}
		}
	})
}

package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/sender"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/wire"
)

// refused checks that a refusal is one that a client can act on.
func refused(t *testing.T, err error) {
	t.Helper()
	if k := callbackd.KindOf(err); k != callbackd.KindInvalid && k != callbackd.KindTooLarge {
		t.Errorf("kind %d: %v", k, err)
	}
	var e *callbackd.Error
	if e, _ = err.(*callbackd.Error); e == nil || e.Message == "" || len(e.Message) > 2000 {
		t.Errorf("the message %q is no help", err)
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
		b, err := callbacks.Read(members, true)
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
		back, err := callbacks.Read(members, true)
		if err != nil {
			t.Fatalf("%v in %s", err, shown)
		}
		back.Policy = b.Policy // shown elsewhere
		if back.Event != b.Event || back.Name != b.Name || !sameSetting(&back, &b) {
			t.Errorf("%s reads back as %s", body, shown)
		}
		policy := (&call{key: &callbackd.Key{}}).policy(&b)
		raw, err := json.Marshal(map[string]any{"event": b.Event, "url": b.URL, "timeout": policy.Timeout, "retry": policy.Retry, "order": policy.Order, "rate": policy.Rate, "concurrency": policy.Concurrency})
		if err != nil {
			t.Fatal(err)
		}
		members, err = strictjson.Object(raw)
		if err != nil {
			t.Fatal(err)
		}
		back, err = callbacks.Read(members, true)
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
			evs, err = readEvents(body)
		} else {
			evs = make([]store.NewEvent, 1)
			err = readEvent(body, &evs[0])
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
			if err := readEvent(raw, &back); err != nil {
				t.Fatalf("%v in %s", err, raw)
			}
			if back.Type != ev.Type || back.Session != ev.Session || back.Idempotency != ev.Idempotency || !bytes.Equal(back.Data, ev.Data) {
				t.Errorf("%+v reads back as %+v", ev, back)
			}
			sent, err := sender.Body(&callbackd.Event{Type: ev.Type, Session: ev.Session, Data: ev.Data}, []byte("{}"))
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
	read := func(query string) (filter, error) {
		q, err := readQuery(&http.Request{URL: &url.URL{RawQuery: query}}, deliveryParams)
		if err != nil {
			return filter{}, err
		}
		return readFilter(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		got, err := read(query)
		if err != nil {
			refused(t, err)
			return
		}
		if got.limit < 1 || got.limit > store.MaxPage || got.callback < 0 {
			t.Errorf("%+v", got)
		}
		if got.cursor != "" {
			id, err := parseCursor(got.cursor)
			if err != nil {
				refused(t, err)
			} else if id.String() != got.cursor || id.Event == 0 {
				t.Errorf("the cursor %q reads as %v", got.cursor, id)
			}
		}
		q := url.Values{"limit": {strconv.Itoa(got.limit)}, "state": {string(got.state)}, "event": {string(got.event)}, "session_key": {got.session}, "cursor": {got.cursor}}
		if got.callback != 0 {
			q.Set("callback", strconv.FormatInt(int64(got.callback), 10))
		}
		for name, at := range map[string]time.Time{"since": got.since, "until": got.until} {
			if !at.IsZero() && at.Year() < 10_000 {
				q.Set(name, at.Format(time.RFC3339Nano))
			}
		}
		back, err := read(q.Encode())
		if err != nil {
			t.Fatalf("%v in %s", err, q.Encode())
		}
		same := func(a, b time.Time) bool { return a.Equal(b) || a.Year() >= 10_000 }
		if back.limit != got.limit || back.state != got.state || back.event != got.event || back.session != got.session || back.cursor != got.cursor || back.callback != got.callback ||
			!same(got.since, back.since) || !same(got.until, back.until) {
			t.Errorf("%+v reads back as %+v", got, back)
		}
	})
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
	read := func(body []byte) (*callbackd.Session, error) {
		fs, err := readFields(body)
		if err != nil {
			return nil, err
		}
		s := session.New(key, now)
		s.SessionKey = "ACM-0123456789"
		return s, fs.newSession(s)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := read(body)
		if err != nil {
			refused(t, err)
			return
		}
		shown, err := marshal(session.Show(s, ""))
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(shown)
		if err != nil {
			t.Fatalf("%v in %s", err, shown)
		}
		back, err := marshal(session.Show(again, ""))
		if err != nil || !bytes.Equal(shown, back) {
			t.Errorf("%s reads back as %s, %v", shown, back, err)
		}
		if fs, err := readFields(body); err == nil {
			for _, read := range []func() error{
				func() error { _, err := fs.photo(); return err }, func() error { _, err := fs.note(); return err },
				func() error { _, err := fs.sms(); return err }, func() error { _, err := fs.update(); return err },
			} {
				if err := read(); err != nil {
					refused(t, err)
				}
			}
		}
	})
}

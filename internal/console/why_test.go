package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/signature"
	"callbackd/wire"

	"golang.org/x/net/html"
)

// words is the text of a page's main part, with white space folded.
func words(t *testing.T, a answer) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "main" {
			return strings.Join(strings.Fields(text(n)), " ")
		}
	}
	return ""
}

// says fails the test when a page lacks some words.
func (v *visitor) says(path string, want ...string) {
	v.t.Helper()
	a := v.get(path)
	got := words(v.t, a)
	for _, w := range want {
		if !strings.Contains(got, w) {
			v.t.Errorf("%s (%s) does not say %q:\n%s", path, a.Status, w, got)
		}
	}
}

// register makes a callback over the API and returns its number.
func (s *site) register(k callbackd.Key, c client.NewCallback) string {
	s.T.Helper()
	ctx, cl := context.Background(), s.Client(k)
	if _, err := cl.CreateCallback(ctx, c); err != nil {
		s.T.Fatal(err)
	}
	var policy struct{ Callback int64 }
	path := "/v1/callbacks/" + c.Event + "/policy"
	if c.Name != "" {
		path += "?name=" + c.Name
	}
	if err := cl.Do(ctx, "GET", path, nil, &policy); err != nil {
		s.T.Fatal(err)
	}
	return fmt.Sprint(policy.Callback)
}

// Why something was not delivered is said where one looks for it: on the
// session's page, in lists, on the callback's page and on the delivery's.
func TestWhyIsSaidEverywhere(t *testing.T) { onBothStores(t, whyIsSaidEverywhere) }

func whyIsSaidEverywhere(t *testing.T, s *site) {
	recv := newReceiver(t)
	recv.Answers(func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	no := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: "crm", URL: recv.URL, Retry: []string{"0s", "5h"}, Order: "0s"})
	var last string
	for i := range callbackd.BreakerThreshold + 1 {
		last = s.Publish(s.Key, callbackd.Complete, fmt.Sprintf("ACM-00000000%02d", i), map[string]any{"x": 1})
	}
	v := s.visitor(t).signIn(s.Key)
	s.Await(func() bool { return strings.Contains(words(t, v.get("/console/callbacks/"+no)), "Last error") })
	const answered = "the receiver answered 500 Internal Server Error"
	v.says("/console/callbacks/"+no, "Last error: "+answered, "Next probe", "nothing is sent before")
	v.says("/console/callbacks", answered)
	v.says("/console/", answered)
	v.says("/console/sessions/ACM-0000000000", "Summary retrying COMPLETE #1: not yet delivered to crm, "+answered+", next attempt")
	v.says("/console/deliveries", "crm", "retrying", "500 attempt 1")
	waiting := "/console/deliveries/dlv_" + strings.TrimPrefix(last, "evt_") + "-" + no
	v.says(waiting, answered, "Nothing is sent to it before a probe at", "Event (webhook-id) "+last, "Delivery dlv_")
	e, err := s.Client(s.Key).ExplainDelivery(context.Background(), strings.TrimPrefix(waiting, "/console/deliveries/"))
	if err != nil {
		t.Fatal(err)
	}
	if raw, _ := json.Marshal(e); !strings.Contains(string(raw), answered) || !strings.Contains(string(raw), "before a probe at") {
		t.Errorf("explain says %s", raw)
	}
	if a := v.do("POST", "/console/callbacks/"+no+"/pause", nil); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status)
	}
	v.says(waiting, "The callback has been paused since", "starts as soon as the callback is resumed", "Resume the callback")
}

// One box finds a session by key or VIN, an event and a delivery: a hit opens.
func TestASearchOpensWhatItNames(t *testing.T) { onBothStores(t, aSearchOpensWhatItNames) }

func aSearchOpensWhatItNames(t *testing.T, s *site) {
	recv := newReceiver(t)
	ids := s.fill(s.Key, recv.URL)
	const vin = "1FTEW1EP5NKD00001"
	made, err := s.Client(s.Key).CreateSession(context.Background(), client.NewSession{Vehicle: &wire.Vehicle{VIN: new(vin)}})
	if err != nil {
		t.Fatal(err)
	}
	other := s.NewKey("other", "k")
	s.Publish(other, callbackd.NoteInsert, ids["session"], map[string]any{"x": 1})
	holder, op := s.visitor(t).signIn(s.Key), s.visitor(t).operator()
	for q, want := range map[string]string{
		ids["session"]: "/console/sessions/" + ids["session"], " " + strings.ToLower(made.SessionKey) + " ": "/console/sessions/" + made.SessionKey,
		vin: "/console/sessions/" + made.SessionKey, strings.ToLower(vin): "/console/sessions/" + made.SessionKey,
		ids["event"]: "/console/events/" + ids["event"], ids["id"]: "/console/deliveries/" + ids["id"],
		"nothing": "/console/sessions?q=nothing",
	} {
		a := holder.get("/console/search?q=" + url.QueryEscape(q))
		to := a.Header.Get("Location")
		if a.StatusCode != http.StatusSeeOther || to != want && !strings.EqualFold(to, want) {
			t.Errorf("%q opens %q, want %q", q, to, want)
		}
		if got := holder.get(to); got.StatusCode != http.StatusOK {
			t.Errorf("%q opens %s: %s", q, to, got.Status)
		}
	}
	// Several keys use the session: the operator chooses.
	to := op.get("/console/search?q=" + ids["session"]).Header.Get("Location")
	if to != "/console/sessions?q="+ids["session"] {
		t.Errorf("the operator is led to %q", to)
	}
	op.says(to, "acme", "other / k")
	for _, path := range []string{"/console/", "/console/callbacks", "/console/deliveries/" + ids["id"], "/console/keys", "/console/nothing"} {
		if a := holder.get(path); !strings.Contains(a.body, `action="/console/search"`) {
			t.Errorf("%s has no search", path)
		}
	}
}

// The command that is copied makes the request of the attempt: with the
// callback's own headers in full, and a signature that verifies now.
func TestTheCopiedCommandWorks(t *testing.T) {
	s := startSite(t)
	type call struct {
		method, query, body string
		header              http.Header
	}
	calls := make(chan call, 10)
	recv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		if _, err := fmt.Fprint(&b, readAll(r)); err != nil {
			t.Error(err)
		}
		calls <- call{r.Method, r.URL.RawQuery, b.String(), r.Header.Clone()}
	}))
	t.Cleanup(recv.Close)
	v := s.visitor(t).signIn(s.Key)
	for _, method := range []string{"POST", "PUT", "GET"} {
		name := strings.ToLower(method)
		no := s.register(s.Key, client.NewCallback{Event: "SESSION:NOTE_INSERT", Name: name, Method: method, URL: recv.URL + "/a%2Fb/{x}?q=[1]&r=it's",
			Headers: map[string]string{"Authorization": "Bearer receiver-secret", "X-Empty": "", "X-Quote": `it's "so"`}})
		ev := s.Publish(s.Key, callbackd.NoteInsert, "ACM-0123456789", map[string]any{"note": map[string]any{"title": "it's \u202e $HOME `id`"}, "long": strings.Repeat("x", 3000)})
		sent := <-calls
		path := "/console/deliveries/dlv_" + strings.TrimPrefix(ev, "evt_") + "-" + no
		s.Await(func() bool { return v.get(path+"/curl?attempt=1").StatusCode == http.StatusOK })
		page := v.get(path + "/curl?attempt=1")
		out, err := exec.Command("bash", "-c", element(t, page, "curl")).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", method, err, out)
		}
		copied := <-calls
		if copied.method != sent.method || copied.query != sent.query || copied.body != sent.body {
			t.Errorf("%s: the command sent %+v, the attempt %+v", method, copied, sent)
		}
		key, err := signature.ParseSecret(element(t, v.get("/console/callbacks/"+no+"/secret"), "secret"))
		if err != nil {
			t.Fatal(err)
		}
		at := copied.header.Get("webhook-timestamp")
		var unix int64
		if _, err := fmt.Sscan(at, &unix); err != nil || time.Since(time.Unix(unix, 0)).Abs() > 5*time.Minute {
			t.Errorf("%s: signed at %q", method, at)
		}
		if got, want := copied.header.Get("webhook-signature"), signature.Sign(ev, unix, []byte(copied.body), key); got != want {
			t.Errorf("%s: the signature is %q, want %q", method, got, want)
		}
		for _, h := range []http.Header{copied.header, sent.header} {
			for _, name := range []string{"webhook-timestamp", "webhook-signature", "accept", "connection"} {
				h.Del(name)
			}
		}
		if fmt.Sprint(copied.header) != fmt.Sprint(sent.header) {
			t.Errorf("%s: the command's headers are\n%v, the attempt's\n%v", method, copied.header, sent.header)
		}
		if strings.Contains(v.get(path).body, "receiver-secret") {
			t.Errorf("%s: the delivery's page shows a secret", method)
		}
		if err := s.Client(s.Key).Do(context.Background(), "DELETE", "/v1/callbacks/SESSION:NOTE_INSERT?name="+name, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// element is the text of the element with an id.
func element(t *testing.T, a answer, id string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && attr(n, "id") == id {
			return text(n)
		}
	}
	t.Fatalf("%s has no #%s", a.Request.URL, id)
	return ""
}

// A form shows everything that is wrong at once, each at its field, and keeps
// what was typed.
func TestFormsShowAllThatIsWrong(t *testing.T) {
	s := startSite(t)
	v, op := s.visitor(t).signIn(s.Key), s.visitor(t).operator()
	for _, c := range []struct {
		who     *visitor
		method  string
		path    string
		form    url.Values
		wrong   string
		untaken string // a field that is well
	}{
		{v, "POST", "/console/callbacks/new", url.Values{"event": {"SESSION:COMPLETE"}, "name": {"a b"}, "url": {"ftp://x"}, "method": {"HEAD"}, "headers": {"Host: x"}, "payload": {"{"}, "timeout": {"2h"}, "order": {"x"},
			"concurrency": {"many"}, "rate": {"-1"}, "retry": {"5s"}}, "name url method headers payload timeout order concurrency rate retry", "event"},
		{v, "POST", "/console/callbacks/new", url.Values{"event": {"SESSION:NOTHING"}, "url": {""}, "method": {"POST"}, "timeout": {"3s"}}, "event url", "timeout"},
		{op, "POST", "/console/callbacks/new", url.Values{"event": {"SESSION:COMPLETE"}, "url": {"x"}, "method": {"POST"}}, "key url", "event"},
		{op, "POST", "/console/keys", url.Values{"account": {"a b"}, "name": {"two\nlines"}, "frame": {"soon"}}, "account name frame", ""},
		{v, "GET", "/console/replays/new", url.Values{"counted": {"1"}, "since": {"x"}, "until": {"y"}, "rate": {"fast"}, "callback": {"z"}, "target": {"-1"}, "event": {"e"}, "session": {"kept"}}, "since until rate callback target event", "session"},
		{v, "GET", "/console/deliveries", url.Values{"since": {"x"}, "until": {"y"}, "status": {"z"}, "fault": {"f"}, "event": {"e"}, "callback": {"c"}, "session": {"kept"}}, "since until status fault event callback", "session"},
		{v, "GET", "/console/logs", url.Values{"since": {"x"}, "until": {"y"}, "status": {"z"}, "path": {"/kept"}}, "since until status", "path"},
	} {
		path, form := c.path, c.form
		if c.method == "GET" {
			path, form = path+"?"+form.Encode(), nil
		}
		a := c.who.do(c.method, path, form)
		if a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, a.Status)
		}
		wellBuilt(t, path, a)
		doc, err := html.Parse(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		marked := map[string]bool{}
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode || !hasAttr(n, "name") {
				continue
			}
			name := attr(n, "name")
			if attr(n, "aria-invalid") == "true" {
				marked[name] = true
				if element(t, a, name+"-error") == "" {
					t.Errorf("%s: nothing is said at %s", path, name)
				}
			}
			typed := c.form.Get(name)
			if n.Data == "input" && attr(n, "type") != "hidden" && attr(n, "type") != "checkbox" && typed != "" && attr(n, "value") != typed && !strings.Contains(typed, "\n") || n.Data == "textarea" && typed != "" && strings.TrimSpace(text(n)) != typed {
				t.Errorf("%s: %s was %q and is %q", path, name, typed, attr(n, "value"))
			}
		}
		for name := range strings.FieldsSeq(c.wrong) {
			if !marked[name] {
				t.Errorf("%s: %s is not marked", path, name)
			}
			delete(marked, name)
		}
		if len(marked) > 0 {
			t.Errorf("%s: %v is marked too", path, marked)
		}
	}
}

// A target that will be refused is said when it is registered, in the same
// words whether it is unknown or inside.
func TestRefusedTargetsAreSaidAtRegistration(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	for i, c := range []struct {
		url string
		say bool
	}{{"http://10.0.0.1/", true}, {"http://127.0.0.1:9/", false}, {"http://no-such-host.invalid/", true}} {
		a := v.do("POST", "/console/callbacks/new", url.Values{"event": {"SESSION:COMPLETE"}, "method": {"POST"}, "name": {fmt.Sprint("n", i)}, "url": {c.url}})
		if a.StatusCode != http.StatusSeeOther {
			t.Fatal(a.Status)
		}
		got := words(t, v.get(a.Header.Get("Location")))
		if strings.Contains(got, "nothing can be delivered to its URL now") != c.say || !strings.Contains(got, "The callback was created.") {
			t.Errorf("%s: %s", c.url, got)
		}
	}
}

// Sending a test waits for its outcome, so that the page has it; a test of a
// callback that is paused waits for nothing, and the page and explain know it.
func TestATestWaitsForNothing(t *testing.T) { onBothStores(t, aTestWaitsForNothing) }

func aTestWaitsForNothing(t *testing.T, s *site) {
	recv := newReceiver(t)
	no := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: recv.URL})
	v := s.visitor(t).signIn(s.Key)
	ev := s.Publish(s.Key, callbackd.Complete, "ACM-0123456789", map[string]any{"x": 1})
	s.Await(func() bool { // the node delivers for this callback
		return strings.Contains(words(t, v.get("/console/deliveries/dlv_"+strings.TrimPrefix(ev, "evt_")+"-"+no)), "Delivered")
	})
	v.do("POST", "/console/callbacks/"+no+"/pause", nil)
	v.says("/console/callbacks/"+no+"/test", "A test is sent all the same")
	a := v.do("POST", "/console/callbacks/"+no+"/test", nil)
	v.says(a.Header.Get("Location"), "Delivered with 1 attempt")

	var hold atomic.Bool
	release := make(chan bool)
	hold.Store(true)
	recv.Answers(func(int, http.ResponseWriter, *http.Request) {
		if hold.Load() {
			<-release
		}
	})
	ended := make(chan error)
	go func() {
		ended <- s.Client(s.Key).Do(context.Background(), "POST", "/v1/callbacks/SESSION:COMPLETE/test", nil, nil)
	}()
	var at string
	s.Await(func() bool {
		for _, href := range linksSaying(t, v.get("/console/deliveries?state=pending"), "COMPLETE") {
			at = href
		}
		return at != ""
	})
	page := v.get(at)
	v.says(at, "The test is being sent. A test waits for nothing", "Waiting for the receiver's answer")
	if strings.Contains(words(t, page), "paused") {
		t.Errorf("the test is said to wait for the pause: %s", words(t, page))
	}
	if !strings.Contains(page.body, `<noscript><meta http-equiv="refresh"`) {
		t.Error("the page does not wait without JavaScript")
	}
	hold.Store(false)
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.Await(func() bool { return strings.Contains(words(t, v.get(at)), "Delivered with 1 attempt") })
}

// Where the page says that an event can be replayed to a callback, a button
// does it: that event, to that callback.
func TestReplayToItIsAButton(t *testing.T) { onBothStores(t, replayToItIsAButton) }

func replayToItIsAButton(t *testing.T, s *site) {
	recv := newReceiver(t)
	ev := s.Publish(s.Key, callbackd.Complete, "ACM-0123456789", map[string]any{"x": 1})
	s.Publish(s.Key, callbackd.Complete, "ACM-OTHER00001", map[string]any{"x": 1})
	v := s.visitor(t).signIn(s.Key)
	s.Await(func() bool { return time.Now().UnixMilli() > parseEvent(t, ev).Time().UnixMilli() })
	no := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: recv.URL})
	v.says("/console/events/"+ev, "after the event was accepted", "Replay to it")
	a := v.do("POST", "/console/events/"+ev+"/replay", url.Values{"callback": {no}})
	if !strings.HasPrefix(a.Header.Get("Location"), "/console/replays/rpl_") {
		t.Fatalf("%s %s", a.Status, a.Header.Get("Location"))
	}
	s.Await(func() bool {
		return strings.Contains(words(t, v.get(a.Header.Get("Location"))), "100 % of 1 delivery")
	})
	id := "dlv_" + strings.TrimPrefix(ev, "evt_") + "-" + no
	s.Await(func() bool {
		return strings.Contains(words(t, v.get("/console/deliveries/"+id)), "Delivered with 1 attempt")
	})
}

func parseEvent(t *testing.T, s string) callbackd.EventID {
	t.Helper()
	id, ok := callbackd.ParseEventID(s)
	if !ok {
		t.Fatal(s)
	}
	return id
}

// The list knows each session's latest event, however many events came since,
// and each session is on one page of it.
func TestTheSessionsListKnowsTheLatestEvent(t *testing.T) {
	onBothStores(t, theSessionsListKnowsTheLatestEvent)
}

func theSessionsListKnowsTheLatestEvent(t *testing.T, s *site) {
	ctx, cl := context.Background(), s.Client(s.Key)
	kept, err := cl.CreateSession(ctx, client.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	s.Publish(s.Key, callbackd.NoteInsert, kept.SessionKey, map[string]any{"x": 1})
	fresh, err := cl.CreateSession(ctx, client.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		var batch []client.NewEvent
		for j := range 150 {
			batch = append(batch, client.NewEvent{Event: "SESSION:STAGE_CHANGE", SessionKey: fmt.Sprintf("ACM-%05d%05d", i, j%7), Data: map[string]any{"x": 1}})
		}
		if err := cl.Do(ctx, "POST", "/v1/events", batch, nil); err != nil {
			t.Fatal(err)
		}
	}
	v := s.visitor(t).signIn(s.Key)
	v.says("/console/sessions?q="+kept.SessionKey, "NOTE_INSERT #1")
	first := words(t, v.get("/console/sessions"))
	if !strings.Contains(first, fresh.SessionKey) || strings.Contains(first, kept.SessionKey) || strings.Count(first, "none yet") != 1 {
		t.Errorf("the first page: %s", first)
	}
	seen := map[string]int{}
	for path := "/console/sessions"; path != ""; {
		a := v.get(path)
		doc, err := html.Parse(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		path = ""
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode && n.Data == "a" {
				if attr(n, "class") == "main-link" {
					seen[text(n)]++
				}
				if attr(n, "rel") == "next" {
					path = attr(n, "href")
				}
			}
		}
	}
	if len(seen) != 23 {
		t.Errorf("%d sessions are listed, want 23", len(seen))
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s is listed %d times", name, n)
		}
	}
}

// readAll is the body of a request.
func readAll(r *http.Request) string {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// A callback that waits for others at its host is said to, and what was given
// up says why.
func TestATurnAndACancellationAreSaid(t *testing.T) {
	s := startSite(t)
	answer := make(chan struct{})
	var called atomic.Int64
	recv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		called.Add(1)
		select {
		case <-answer:
		case <-r.Context().Done():
		}
	}))
	defer recv.Close()
	defer close(answer)
	nos := []string{}
	for i := range callbackd.RampStart + 1 {
		nos = append(nos, s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: fmt.Sprint("n", i), URL: recv.URL, Timeout: "60s"}))
	}
	s.Publish(s.Key, callbackd.Complete, "ACM-0000000001", map[string]any{"x": 1})
	s.Await(func() bool { return called.Load() == callbackd.RampStart })
	v := s.visitor(t).signIn(s.Key)
	const turn = "it takes turns with other callbacks that have not succeeded at its host yet"
	v.says("/console/sessions/ACM-0000000001", turn)
	said := 0
	for _, no := range nos {
		if strings.Contains(words(t, v.get("/console/callbacks/"+no)), "Deliveries wait: "+turn) {
			said++
		}
	}
	if said != len(nos) { // nothing more may start to any of them now
		t.Errorf("%d of %d pages say that the callback takes turns", said, len(nos))
	}
	if a := v.do("POST", "/console/callbacks/"+nos[len(nos)-1]+"/delete", nil); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status)
	}
	v.says("/console/sessions/ACM-0000000001", "no attempt · the callback was deleted")
}

// What to do about a host that nothing may be sent to is said of each delivery
// that waits for it, tried or not.
func TestWhatToDoAboutARefusedHostIsSaidOfWhatWaits(t *testing.T) {
	s := startSite(t)
	no := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://10.1.2.3/hook", Retry: []string{"0s", "5h"}, Order: "0s"})
	var last string
	for i := range callbackd.BreakerThreshold + 1 {
		last = s.Publish(s.Key, callbackd.Complete, fmt.Sprintf("ACM-00000000%02d", i), map[string]any{"x": 1})
	}
	s.Await(func() bool {
		e, err := s.Client(s.Key).ExplainDelivery(context.Background(), "dlv_"+strings.TrimPrefix(last, "evt_")+"-"+no)
		return err == nil && strings.Contains(e.Next, "--allow-target")
	})
}

// What comes next does not contradict what is said above it: a wait with an
// end names the end.
func TestWhatComesNextNamesTheEndOfAWait(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	recv.Answers(func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	no := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: recv.URL})
	v := s.visitor(t).signIn(s.Key)
	s.Publish(s.Key, callbackd.Complete, "ACM-0000000001", map[string]any{"x": 1})
	s.Await(func() bool { return strings.Contains(words(t, v.get("/console/callbacks/"+no)), "Next probe") })
	ev := s.Publish(s.Key, callbackd.Complete, "ACM-0000000002", map[string]any{"x": 1})
	page := words(t, v.get("/console/deliveries/dlv_"+strings.TrimPrefix(ev, "evt_")+"-"+no))
	if !strings.Contains(page, "nothing is sent to it before") || !strings.Contains(page, "UTC, as the receiver asked") {
		t.Error(page)
	}
}

// What a page says of a deleted callback, of an empty list and of keys with
// the same name is so, and leads somewhere.
func TestWhatIsSaidOfTheDeletedTheEmptyAndTheAlikeIsSo(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	ids := s.fill(s.Key, recv.URL)
	twin := s.NewKey(s.Key.Account, s.Key.Name)
	v, op := s.visitor(t).signIn(s.Key), s.visitor(t).operator()
	v.says("/console/deliveries?state=canceled", "No delivery matches the filter.")
	op.says("/console/deliveries?key="+twin.APIKey, "No delivery matches the filter.", "("+twin.APIKey[:8])
	if got := words(t, op.get("/console/callbacks")); !strings.Contains(got, "("+s.Key.APIKey[:8]) {
		t.Errorf("a callback's key is not told from another of its name:\n%s", got)
	}
	op.says("/console/callbacks/"+ids["callback"], "API key "+s.Key.Account+" / "+s.Key.Name+" ("+s.Key.APIKey[:8])
	if a := v.do("POST", "/console/callbacks/"+ids["callback"]+"/delete", nil); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status)
	}
	page := v.get("/console/callbacks/" + ids["callback"])
	if got := words(t, page); !strings.Contains(got, "The callback was deleted at") || strings.Contains(got, "Failing since") {
		t.Error(got)
	}
	if strings.Contains(page.body, "/secret") {
		t.Error("the page of a deleted callback leads to a secret that is no longer shown")
	}
}

// Every kind of error has words in the filter of deliveries.
func TestEveryErrorHasWordsInTheFilter(t *testing.T) {
	s := startSite(t)
	page := words(t, s.visitor(t).signIn(s.Key).get("/console/deliveries"))
	for _, f := range callbackd.Faults {
		if text := callbackd.FailureText(f, 0); strings.HasPrefix(text, "it failed") || !strings.Contains(page, string(f)+": "+text) {
			t.Errorf("%s is %q, and the page says %s", f, text, page)
		}
	}
}

package exam_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/exam"
	"callbackd/internal/signature"
)

// receiver is a correct receiver that a test can break in one way.
type receiver struct {
	key []byte
	// verify replaces the check of the signature.
	verify func(h http.Header, body []byte) error
	// judge returns a status other than 0 to answer instead of 204, for a request whose
	// signature is right.
	judge func(r *http.Request, ev *received) int
	// read replaces the reading of the body.
	read func(w http.ResponseWriter, r *http.Request) ([]byte, error)

	mu   sync.Mutex
	seen map[string]bool
	last map[string]string // sequence by session
}

// received is what the receiver sees of an event.
type received struct {
	Event    string `json:"event"`
	Session  string `json:"session_key"`
	size     int
	again    bool // its id came before
	previous string
}

func (rec *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := rec.read(w, r)
	if err != nil {
		w.WriteHeader(http.StatusRequestTimeout)
		return
	}
	if rec.verify(r.Header, body) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	ev := &received{size: len(body)}
	if err := json.Unmarshal(body, ev); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	rec.mu.Lock()
	ev.again, ev.previous = rec.seen[r.Header.Get("webhook-id")], rec.last[ev.Session]
	rec.seen[r.Header.Get("webhook-id")], rec.last[ev.Session] = true, r.Header.Get("callback-sequence")
	rec.mu.Unlock()
	if status := rec.judge(r, ev); status != 0 {
		w.WriteHeader(status)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// examine runs an exam of a receiver that change has broken.
func examine(t *testing.T, pause func(ctx context.Context) bool, change func(rec *receiver)) *exam.Report {
	t.Helper()
	secret := signature.NewSecret()
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	rec := &receiver{key: key, seen: map[string]bool{}, last: map[string]string{},
		verify: func(h http.Header, body []byte) error { return signature.Verify(key, h, body, time.Now()) },
		judge:  func(*http.Request, *received) int { return 0 },
		read:   func(_ http.ResponseWriter, r *http.Request) ([]byte, error) { return io.ReadAll(r.Body) }}
	change(rec)
	srv := httptest.NewServer(rec)
	t.Cleanup(srv.Close)
	report, err := exam.Run(t.Context(), options(srv.URL, secret, pause))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func options(url, secret string, pause func(ctx context.Context) bool) exam.Options {
	if pause == nil {
		pause = func(context.Context) bool { return true }
	}
	return exam.Options{URL: url, Secret: secret, Event: callbackd.Complete, Version: "9.9", Timeout: time.Minute, Pause: pause,
		Policy: egress.OnlyPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})}
}

// failed lists the cases that failed.
func failed(r *exam.Report) (names []string) {
	for _, c := range r.Cases {
		if c.Outcome == exam.Failed {
			names = append(names, c.Name)
		}
	}
	return names
}

func TestAGoodReceiverPasses(t *testing.T) {
	pauses := 0
	r := examine(t, func(context.Context) bool { pauses++; return true }, func(*receiver) {})
	if names := failed(r); len(names) > 0 || r.Failed != 0 || r.Skipped != 0 || r.Passed != len(r.Cases) || r.Passed != 11 {
		var text strings.Builder
		r.Print(&text, false)
		t.Errorf("failed: %v\n%s", names, text.String())
	}
	if pauses != 3 {
		t.Errorf("%d pauses within a body, want 3", pauses)
	}
	ids := map[string][]string{}
	for _, c := range r.Cases {
		for _, q := range c.Requests {
			ids[q.Event] = append(ids[q.Event], c.Name)
		}
	}
	for id, in := range ids {
		if len(in) > 1 && !slices.Equal(in, []string{"duplicate", "duplicate"}) {
			t.Errorf("the event %s is in %v", id, in)
		}
	}
}

// Each receiver is right but for one thing, and the exam finds this thing and no other.
func TestABadReceiverFailsTheCaseThatItBreaks(t *testing.T) {
	now := func(h http.Header) time.Time { // the time at which the request says that it was sent
		at, err := time.ParseDuration(h.Get("webhook-timestamp") + "s")
		if err != nil {
			t.Error(err)
		}
		return time.Unix(0, 0).Add(at)
	}
	for name, change := range map[string]func(rec *receiver){
		"wrong signature": func(rec *receiver) {
			rec.verify = func(h http.Header, body []byte) error {
				if time.Since(now(h)).Abs() > signature.Tolerance {
					return io.EOF
				}
				return nil
			}
		},
		"old timestamp": func(rec *receiver) {
			rec.verify = func(h http.Header, body []byte) error { return signature.Verify(rec.key, h, body, now(h)) }
		},
		"several signatures": func(rec *receiver) {
			right := rec.verify
			rec.verify = func(h http.Header, body []byte) error {
				h = h.Clone()
				one, _, _ := strings.Cut(h.Get("webhook-signature"), " ")
				h.Set("webhook-signature", one)
				return right(h, body)
			}
		},
		"duplicate": func(rec *receiver) {
			rec.judge = func(r *http.Request, ev *received) int { return when(ev.again, http.StatusConflict) }
		},
		"out of order": func(rec *receiver) {
			rec.judge = func(r *http.Request, ev *received) int {
				return when(!ev.again && ev.previous > r.Header.Get("callback-sequence"), http.StatusUnprocessableEntity)
			}
		},
		"unknown event": func(rec *receiver) {
			rec.judge = func(r *http.Request, ev *received) int {
				return when(ev.Event != string(callbackd.Complete), http.StatusBadRequest)
			}
		},
		"large body": func(rec *receiver) {
			rec.judge = func(r *http.Request, ev *received) int {
				return when(ev.size > 100<<10, http.StatusRequestEntityTooLarge)
			}
		},
		"test event": func(rec *receiver) {
			rec.judge = func(r *http.Request, ev *received) int {
				return when(r.Header.Get("callback-test") != "", http.StatusNotFound)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := examine(t, nil, change)
			if got := failed(r); !slices.Equal(got, []string{name}) {
				t.Errorf("the cases %q fail, want %q only", got, name)
			}
			for _, c := range r.Cases {
				if (c.Outcome == exam.Failed) != (c.Remedy != "") || c.Outcome == exam.Failed && c.Check != "" {
					t.Errorf("%s %s: the remedy is %q, to look up is %q", c.Name, c.Outcome, c.Remedy, c.Check)
				}
			}
		})
	}
}

func when(is bool, status int) int {
	if is {
		return status
	}
	return 0
}

// A receiver that serves one request at a time gets several.
func TestAReceiverThatRefusesASecondRequestAtTheSameTimeFails(t *testing.T) {
	var mu sync.Mutex
	requests, waiting := 0, make(chan struct{})
	r := examine(t, nil, func(rec *receiver) {
		rec.judge = func(r *http.Request, ev *received) int {
			mu.Lock()
			requests++
			n := requests
			mu.Unlock()
			// The next two requests are two of those at the same time.
			switch n - before {
			case 1:
				<-waiting
			case 2:
				close(waiting)
				return http.StatusServiceUnavailable
			}
			return 0
		}
	})
	if got := failed(r); !slices.Equal(got, []string{"concurrent sessions"}) {
		t.Errorf("the cases %q fail", got)
	}
}

// before is how many requests with a right signature the exam sends before those of the
// concurrent sessions: a good one, two duplicates, two out of order, unknown, large, slow.
const before = 8

// A receiver that stops reading before the body is complete.
func TestAReceiverThatDoesNotWaitForTheBodyFails(t *testing.T) {
	paused, answered := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(paused); <-answered })
	var cut sync.Once // the request that waits then; later ones find paused closed too
	r := examine(t, func(context.Context) bool { first(); return true }, func(rec *receiver) {
		rec.read = func(w http.ResponseWriter, r *http.Request) ([]byte, error) {
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				select {
				case <-paused:
					cut.Do(func() { http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) })
				case <-stop:
				}
			}()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				close(answered)
			}
			return body, err
		}
	})
	if got := failed(r); !slices.Equal(got, []string{"slow body"}) {
		t.Errorf("the cases %q fail", got)
	}
}

func TestAfterABadStartTheOtherCasesAreSkipped(t *testing.T) {
	r := examine(t, nil, func(rec *receiver) {
		rec.verify = func(http.Header, []byte) error { return io.EOF }
	})
	if got := failed(r); !slices.Equal(got, []string{"good callback"}) || r.Passed != 0 || r.Skipped != 10 {
		t.Errorf("failed %q, %d passed, %d skipped", got, r.Passed, r.Skipped)
	}
	if q := r.Cases[0].Requests[0]; q.Status != 401 || q.Error != "the receiver answered 401" {
		t.Errorf("%+v", q)
	}
}

func TestReports(t *testing.T) {
	r := examine(t, nil, func(rec *receiver) {
		rec.judge = func(r *http.Request, ev *received) int { return when(ev.again, http.StatusConflict) }
	})
	var text, colour, junit bytes.Buffer
	if err := r.Print(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nfailed   duplicate            2 requests, answered 204, 409, session ", "the same event, attempt 2: the receiver answered 409; expected 2xx (", "→ Answer 2xx to an event that you have already", "\n\n11 cases: 10 passed, 1 failed\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := r.Print(&colour, true); err != nil || !strings.Contains(colour.String(), "\x1b[31mfailed ") {
		t.Errorf("%v %q", err, colour.String())
	}
	if err := r.JUnit(&junit); err != nil {
		t.Fatal(err)
	}
	var read struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string  `xml:"name,attr"`
			Failure *string `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(junit.Bytes(), &read); err != nil || read.Tests != 11 || read.Failures != 1 || len(read.Cases) != 11 {
		t.Fatalf("%v %+v", err, read)
	}
	for _, c := range read.Cases {
		if (c.Failure != nil) != (c.Name == "duplicate") {
			t.Errorf("%s: failure %v", c.Name, c.Failure)
		}
	}
}

// What a receiver writes reaches no terminal and no file unescaped.
func TestAnAnswerCannotWriteToTheTerminal(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(c, "HTTP/1.1 \x1b[2J\x00 ]]>\r\n\r\n")
		c.Close()
	}))
	defer srv.Close()
	r, err := exam.Run(t.Context(), options(srv.URL, signature.NewSecret(), nil))
	if err != nil {
		t.Fatal(err)
	}
	var text, junit bytes.Buffer
	r.Print(&text, false)
	if err := r.JUnit(&junit); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String()+junit.String(), "\x1b") || r.Failed != 1 {
		t.Errorf("%q", text.String())
	}
	if err := xml.Unmarshal(junit.Bytes(), new(struct{})); err != nil {
		t.Error(err)
	}
}

func TestWhoCannotBeExamined(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	url := srv.URL
	srv.Close()
	secret := signature.NewSecret()
	for _, tt := range []struct{ url, secret, want string }{
		{url, secret, "the receiver cannot be reached: "},
		{url, "sesame", "the secret is invalid: "},
		{"ftp://127.0.0.1/", secret, "the receiver's url must begin with http:// or https://"},
		{"http://192.0.2.1/", secret, "an exam calls this machine only, and 192.0.2.1 is at 192.0.2.1."},
		{"http://8.8.8.8/", secret, "--allow-target 8.8.8.8/32"},
		{"http://[2606:4700::1]/", secret, "--allow-target 2606:4700::1/128"},
		{"http://10.1.2.3/", secret, "--allow-target 10.1.2.3/32"},
	} {
		if _, err := exam.Run(t.Context(), options(tt.url, tt.secret, nil)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the error is %v, want %q", tt.url, err, tt.want)
		} else if setting := tt.url != url || tt.secret != secret; (callbackd.KindOf(err) == callbackd.KindSetting) != setting {
			t.Errorf("%s: the kind of %v is %v", tt.url, err, callbackd.KindOf(err))
		}
	}
}

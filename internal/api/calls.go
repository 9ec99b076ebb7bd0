package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/request"
	"callbackd/internal/store"
)

// Calls gets the calls that name an API key, for the log. Its methods must not block.
type Calls interface {
	// Call logs one call.
	Call(store.LogEntry)
	// Published counts a successful publish.
	Published(key callbackd.KeyID, at time.Time, took time.Duration, address string)
	// Refused counts a call that did not prove the key's secret.
	Refused(key callbackd.KeyID, at time.Time, address string)
}

// noCalls logs nothing.
type noCalls struct{}

func (noCalls) Call(store.LogEntry)                                         {}
func (noCalls) Published(callbackd.KeyID, time.Time, time.Duration, string) {}
func (noCalls) Refused(callbackd.KeyID, time.Time, string)                  {}

// recorder remembers the status and the message of an answer.
type recorder struct {
	http.ResponseWriter
	status  int
	message string
}

// WriteHeader is part of http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// address returns the caller's address for the log.
func address(r *http.Request) string {
	if text := front.ClientText(r); text != "" {
		return text
	}
	return r.RemoteAddr
}

// signed returns a handler that calls f for requests with a valid signature, and logs
// them for their key. It reads nothing of the body before it has checked the signature.
func (a *API) signed(params []string, f func(http.ResponseWriter, *call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		rec := &recorder{ResponseWriter: w}
		key, err := a.authenticate(r)
		if err == nil {
			err = beginCall(r, key)
		}
		c := &call{Request: r, key: key}
		a.trace(c, begin)
		if err == nil {
			c.query, err = request.Query(r.URL.RawQuery, params)
		}
		if err == nil {
			err = a.prepareOnce(rec, c)
		}
		if err == nil {
			err = a.madeMeanwhile(c, f(rec, c))
		}
		if err != nil && !repeated(rec, err) {
			rec.message = a.fail(rec, r, err)
		}
		c.endSpan(rec.status)
		if key != nil {
			a.note(rec, r, key, begin)
		}
	})
}

// withActor returns a call that can change something with who makes it.
func withActor(r *http.Request, actor callbackd.Actor) *http.Request {
	if front.KindOf(r) == front.Read {
		return r
	}
	return r.WithContext(store.WithActor(r.Context(), actor))
}

// beginCall counts a call among the active ones of its key. A call that is answered with
// a page waits until the page may be built.
func beginCall(r *http.Request, key *callbackd.Key) error {
	kind := front.KindOf(r)
	if err := front.BeginCall(r, key.APIKey, kind); err != nil || kind == front.Write {
		return err
	}
	return front.BeginAnswer(r, key.Account)
}

func (a *API) note(rec *recorder, r *http.Request, key *callbackd.Key, begin time.Time) {
	a.Calls.Call(store.LogEntry{Key: key.ID, At: begin, Method: r.Method, Path: r.URL.Path, Status: rec.status, Duration: time.Since(begin),
		Message: rec.message, Address: address(r)})
}

// signedPublish does what signed does, for the hot path: it counts successful calls and
// does not log them one by one.
func (a *API) signedPublish(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	// First, because in an overload most calls end here. An array waits for room when it is read.
	if err := a.Overload.Check(r.Header.Get(headerKey)); err != nil && front.FirstByte(r) == '{' {
		a.Overload.Hold(r.Context())
		a.fail(w, r, err)
		return
	}
	key, err := a.authenticate(r)
	if err == nil {
		err = front.BeginCall(r, key.APIKey, front.Write)
	}
	if err == nil {
		_, err = request.Query(r.URL.RawQuery, nil)
	}
	c := &call{Request: r, key: key}
	if err == nil {
		front.Unwatched(r)
		c.Request, c.span = a.traced(r, begin)
		if err = a.publish(w, c); err == nil {
			c.endSpan(http.StatusAccepted)
			took := time.Since(begin)
			a.Published(took)
			a.Calls.Published(key.ID, begin, took, address(r))
			return
		}
	}
	if overloaded(err) {
		front.EndCall(r)
		a.Overload.Hold(r.Context())
	}
	rec := &recorder{ResponseWriter: w}
	rec.message = a.fail(rec, r, err)
	c.endSpan(rec.status)
	if key != nil && !overloaded(err) { // so many would push the others out of the log
		a.note(rec, r, key, begin)
	}
}

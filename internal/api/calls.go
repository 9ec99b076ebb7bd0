package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/request"
	"callbackd/internal/store"
)

// Calls is told of the calls that name an API key, for its log. Its methods
// must not block.
type Calls interface {
	// Call keeps one call.
	Call(store.LogEntry)
	// Published counts a successful publish.
	Published(key callbackd.KeyID, at time.Time, took time.Duration, address string)
	// Refused counts a call that did not prove the key's secret.
	Refused(key callbackd.KeyID, at time.Time, address string)
}

// noCalls is the log of an API without one.
type noCalls struct{}

func (noCalls) Call(store.LogEntry)                                         {}
func (noCalls) Published(callbackd.KeyID, time.Time, time.Duration, string) {}
func (noCalls) Refused(callbackd.KeyID, time.Time, string)                  {}

// recorder notes what a call was answered.
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

// address is whose call it is, for the log.
func address(r *http.Request) string {
	if a := front.ClientAddr(r); a.IsValid() {
		return a.String()
	}
	return r.RemoteAddr
}

// signed lets a request through that proves its API key, and notes it in the
// key's log. Nothing of the body is read before.
func (a *API) signed(params []string, f func(http.ResponseWriter, *call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		rec := &recorder{ResponseWriter: w}
		key, err := a.authenticate(r)
		if err == nil {
			err = within(r, key)
		}
		c := &call{Request: r, key: key}
		if err == nil {
			c.query, err = request.Query(r.URL.RawQuery, params)
		}
		if err == nil {
			err = a.prepareOnce(rec, c)
		}
		if err == nil {
			err = f(rec, c)
		}
		if err != nil && !repeated(rec, err) {
			rec.message = a.fail(rec, r, err)
		}
		if key != nil {
			a.note(rec, r, key, begin)
		}
	})
}

// within counts a call among those of its key that are under way. One that is
// answered with a page waits until it may be made.
func within(r *http.Request, key *callbackd.Key) error {
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

// signedPublish is signed for the hot path: a success is counted and not
// noted one by one.
func (a *API) signedPublish(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	key, err := a.authenticate(r)
	if err == nil {
		err = front.BeginCall(r, key.APIKey, front.Write)
	}
	if err == nil {
		_, err = request.Query(r.URL.RawQuery, nil)
	}
	if err == nil {
		if err = a.publish(w, &call{Request: r, key: key}); err == nil {
			a.Calls.Published(key.ID, begin, time.Since(begin), address(r))
			return
		}
	}
	rec := &recorder{ResponseWriter: w}
	rec.message = a.fail(rec, r, err)
	if key != nil {
		a.note(rec, r, key, begin)
	}
}

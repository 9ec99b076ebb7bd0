package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Headers of calls that must run once only.
const (
	headerIdempotency = "Idempotency-Key"
	headerReplayed    = "Idempotency-Replayed" // marks a first answer that is given again
)

// prepareOnce reads the Idempotency-Key of a call. When it has an answer, prepareOnce
// returns the answer as an error. It does so before the call is read, because a call
// that was valid then may be invalid now. A key counts for one method and path. The text
// of the body and the query must be the same.
func (a *API) prepareOnce(w http.ResponseWriter, c *call) error {
	text := c.Header.Get(headerIdempotency)
	if text == "" || c.Method == http.MethodGet || c.Method == http.MethodHead {
		return nil
	}
	if len(text) > callbackd.MaxIdempotency {
		return callbackd.Invalid("%s is longer than %d bytes.", headerIdempotency, callbackd.MaxIdempotency)
	}
	body, err := c.text(w)
	if err != nil {
		return err
	}
	sent := bytes.Join([][]byte{[]byte(c.URL.Query().Encode()), body.JSON}, []byte("\n"))
	c.once = store.NewOnce(c.keyID(), c.Method+" "+c.URL.Path, text, sent, time.Now())
	err = a.Store.Answered(c.Context(), c.once)
	if errors.Is(err, store.ErrOtherCall) && c.Pattern == "POST /v1/callbacks" { // PAVE documents the key in a 409 there
		return keyed{err, c.key.APIKey}
	}
	return err
}

// acting returns the context for a command that the audit log has with who makes the call.
func (c *call) acting() context.Context {
	if c.token != nil {
		return c.Context() // has its actor already
	}
	actor := callbackd.Actor{Kind: callbackd.ActorKey, Name: c.key.APIKey, Address: address(c.Request)}
	return store.WithActor(c.Context(), actor)
}

// once returns the context for the command of a call. show makes the answer from the
// result of the command. When the call has an Idempotency-Key, the store writes the
// answer with the change.
func once[T any](c *call, status int, show func(T) ([]byte, error)) context.Context {
	return onceIn(c.acting(), c, status, show)
}

// onceIn is once in a context. The platform's calls, which are as many as events and which
// the audit log does not have, need no actor in it.
func onceIn[T any](ctx context.Context, c *call, status int, show func(T) ([]byte, error)) context.Context {
	if c.once == nil {
		return ctx
	}
	c.once.Show = func(made any) (store.Answer, error) {
		body, err := show(made.(T))
		return store.Answer{Status: status, Body: body}, err
	}
	return store.WithOnce(ctx, c.once)
}

// madeMeanwhile returns the first answer as an error, in place of the error that refused a
// call, when the same call was made while this one ran, perhaps at another node. Then that is
// why this one was refused: what it creates exists, and what it deletes is gone.
func (a *API) madeMeanwhile(c *call, err error) error {
	if err == nil || c.once == nil || callbackd.KindOf(err) == callbackd.KindUnavailable {
		return err
	}
	again := a.Store.Answered(c.Context(), c.once)
	if _, ok := errors.AsType[*store.Repeated](again); ok {
		return again
	}
	return err
}

// repeated answers with the first answer when err says that the command did not run. It
// reports whether it did so.
func repeated(w http.ResponseWriter, err error) bool {
	r, ok := errors.AsType[*store.Repeated](err)
	if ok {
		w.Header().Set(headerReplayed, "true")
		w.Header().Set("Cache-Control", "no-store")
		answerRaw(w, r.Status, r.Body)
	}
	return ok
}

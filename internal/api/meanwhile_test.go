package api_test

import (
	"context"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// late runs commands as one does that waited for a lock while another node ran the same
// call: it looked for the answer of the idempotency key before that was written.
type late struct {
	store.Store
	twin func() // the call at the other node
}

func (l *late) wait(ctx context.Context) context.Context {
	if twin := l.twin; twin != nil {
		l.twin = nil
		twin()
		return store.WithOnce(ctx, nil)
	}
	return ctx
}

func (l *late) ChangeCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, f func(*callbackd.Callback) error) (*callbackd.Callback, error) {
	ctx = l.wait(ctx)
	return l.Store.ChangeCallback(ctx, key, ev, name, f)
}

func (l *late) CreateToken(ctx context.Context, t callbackd.OperatorToken) error {
	ctx = l.wait(ctx)
	return l.Store.CreateToken(ctx, t)
}

func (l *late) ChangeSession(ctx context.Context, key callbackd.KeyID, session string, at time.Time, f func(*callbackd.Session) (store.SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error) {
	ctx = l.wait(ctx)
	return l.Store.ChangeSession(ctx, key, session, at, f)
}

// Of two calls with one Idempotency-Key that come at the same time, the one that is refused
// because of what the other did gets the other's answer.
func TestACallThatWasMadeMeanwhileIsARepeat(t *testing.T) {
	onBothStores(t, aCallThatWasMadeMeanwhileIsARepeat)
}

func aCallThatWasMadeMeanwhileIsARepeat(t *testing.T, on func(*setup)) {
	l := &late{}
	s := start(t, on, func(c *setup) {
		c.wrap = func(st store.Store) store.Store { l.Store = st; return l }
	})
	s.register("SESSION:COMPLETE", "https://a.example", "")
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"DELETE", "/v1/callbacks/SESSION:COMPLETE", "", 200},
		{"POST", "/v1/admin/tokens", `{"name":"t","role":"read"}`, 201},
		{"POST", "/v1/sessions/" + s.create("") + "/start", "", 200},
	} {
		once := idempotent(c.method + c.path)
		var first reply
		l.twin = func() { first = s.call(c.method, c.path, c.body, once).ok(c.status) }
		second := s.call(c.method, c.path, c.body, once).ok(c.status)
		equal(t, c.path+": the second answer", second.body, first.body)
		equal(t, c.path+": Idempotency-Replayed", second.header.Get("Idempotency-Replayed"), "true")
		if l.twin != nil {
			t.Errorf("%s %s did not reach the store", c.method, c.path)
		}
	}
}

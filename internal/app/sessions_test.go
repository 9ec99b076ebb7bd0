package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// house is a store and the loop over it, in fake time.
type house struct {
	*testing.T
	dir    string
	app    *App
	key    callbackd.Key
	offset atomic.Int64 // how far the wall clock is set off
	fired  atomic.Int64
}

func (h *house) open() {
	h.Helper()
	s, err := sqlite.Open(h.Context(), sqlite.Options{Dir: h.dir})
	if err != nil {
		h.Fatal(err)
	}
	h.app = &App{
		log: slog.New(slog.DiscardHandler), store: s, background: newBackground(h.Context()),
		accepted: func(n int) { h.fired.Add(int64(n)) },
	}
	if h.key.ID == 0 {
		if h.key, err = s.CreateKey(h.Context(), callbackd.Key{Account: "acme", APIKey: "k", Secret: "s", TimeFrame: time.Hour, CreatedAt: time.Now()}); err != nil {
			h.Fatal(err)
		}
	}
	h.run(job{every: dueCheck, step: h.app.advanceSessions(h.clock)})
	synctest.Wait()
}

// run repeats a job until the house is closed.
func (h *house) run(j job) {
	h.app.background.run(func(ctx context.Context) { j.repeat(ctx, func() bool { return true }, h.app.log) })
}

// clock is the wall clock as it is set.
func (h *house) clock() time.Time { return time.Now().Add(time.Duration(h.offset.Load())) }

func (h *house) now() time.Time { return session.Time(h.clock()) }

func (h *house) close() {
	h.Helper()
	h.app.background.stop(h.Context())
	if err := h.app.store.Close(); err != nil {
		h.Fatal(err)
	}
}

func (h *house) create() string {
	h.Helper()
	x := session.New(&h.key, h.now())
	if err := h.app.store.CreateSession(h.Context(), x, nil); err != nil {
		h.Fatal(err)
	}
	return x.SessionKey
}

func (h *house) is(key string, want callbackd.SessionStatus) *callbackd.Session {
	h.Helper()
	synctest.Wait()
	x, err := h.app.store.Session(h.Context(), h.key.ID, key)
	if err != nil || x.Status != want {
		h.Fatalf("%v, %v, want %s", x, err, want)
	}
	return x
}

// events is how many events a session has.
func (h *house) events(key string, want int) {
	h.Helper()
	page, err := h.app.store.ListEvents(h.Context(), store.EventQuery{Key: h.key.ID, Session: key, Limit: 100})
	if err != nil || len(page.Events) != want {
		h.Errorf("%d events, want %d, %v", len(page.Events), want, err)
	}
}

func inHouse(t *testing.T, f func(h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{T: t, dir: t.TempDir()}
		h.open()
		f(h)
		h.close()
	})
}

// The times are counted from the first session, because a commit takes time too: the
// store waits a little for more of them.
func TestSessionsExpireOnTime(t *testing.T) {
	inHouse(t, func(h *house) {
		begin := time.Now()
		sleepUntil := func(d time.Duration) { time.Sleep(time.Until(begin.Add(d))) }
		first := h.create()
		sleepUntil(30 * time.Minute)
		second := h.create()
		sleepUntil(time.Hour - time.Millisecond)
		h.is(first, callbackd.StatusIdle)
		sleepUntil(time.Hour)
		h.is(first, callbackd.StatusExpired)
		sleepUntil(90*time.Minute - time.Millisecond)
		h.is(second, callbackd.StatusIdle)
		sleepUntil(90 * time.Minute)
		h.is(second, callbackd.StatusExpired)
		sleepUntil(100 * time.Minute)
		h.events(first, 1)
		h.events(second, 1)
		if n := h.fired.Load(); n != 2 {
			h.Errorf("%d counted", n)
		}
	})
}

func TestSessionsExpireAfterARestart(t *testing.T) {
	inHouse(t, func(h *house) {
		key := h.create()
		h.close()
		time.Sleep(10 * time.Hour)
		h.open()
		h.is(key, callbackd.StatusExpired)
		h.close()
		h.open()
		time.Sleep(time.Hour)
		h.events(key, 1)
	})
}

func TestSessionsExpireWhenTheClockIsSet(t *testing.T) {
	inHouse(t, func(h *house) {
		ahead := h.create()
		time.Sleep(10 * time.Minute)
		h.offset.Store(int64(2 * time.Hour))
		time.Sleep(time.Second)
		h.is(ahead, callbackd.StatusExpired)
		h.offset.Store(int64(-10 * time.Hour)) // and back, further than before
		back := h.create()
		time.Sleep(59 * time.Minute)
		h.is(back, callbackd.StatusIdle)
		time.Sleep(time.Minute)
		h.is(back, callbackd.StatusExpired)
		h.events(ahead, 1)
		h.events(back, 1)
	})
}

// A session that is due sooner than what the loop waits for.
func TestASessionWithAShorterTimeFrameIsNotLate(t *testing.T) {
	inHouse(t, func(h *house) {
		h.create()
		h.key.TimeFrame = 90 * time.Second
		begin := time.Now()
		short := h.create()
		time.Sleep(time.Until(begin.Add(90*time.Second - time.Millisecond)))
		h.is(short, callbackd.StatusIdle)
		time.Sleep(time.Millisecond)
		h.is(short, callbackd.StatusExpired)
	})
}

func TestReferencesGoADayAfterCompletion(t *testing.T) {
	inHouse(t, func(h *house) {
		x := session.New(&h.key, h.now())
		x.Status, x.StartedAt, x.CapturedAt, x.Reference = callbackd.StatusConfirm, x.CreatedAt, x.CreatedAt, []byte(`{"lead":1}`)
		if err := h.app.store.CreateSession(h.Context(), x, nil); err != nil {
			h.Fatal(err)
		}
		begin, now := time.Now(), h.now()
		_, _, err := session.Change(h.Context(), h.app.store, h.key.ID, x.SessionKey, now, func(x *callbackd.Session) ([]callbackd.Fired, error) { return x.Complete(now) })
		if err != nil {
			h.Fatal(err)
		}
		h.offset.Store(int64(24*time.Hour - 5*time.Second)) // not a day's worth of checks
		time.Sleep(time.Until(begin.Add(5*time.Second - time.Millisecond)))
		if h.is(x.SessionKey, callbackd.StatusComplete).Reference == nil {
			h.Error("gone too early")
		}
		time.Sleep(time.Millisecond)
		if h.is(x.SessionKey, callbackd.StatusComplete).Reference != nil {
			h.Error("still there")
		}
		h.events(x.SessionKey, 2)
	})
}

func TestEndedSessionsGoAfterTheRetention(t *testing.T) {
	inHouse(t, func(h *house) {
		h.run(job{every: time.Minute, step: h.app.prune(2*time.Hour, 0)})
		var ended []string
		for range stepSize + 5 { // more than one step
			ended = append(ended, h.create())
		}
		time.Sleep(time.Hour)
		h.key.TimeFrame = 24 * time.Hour
		running := h.create()
		time.Sleep(2*time.Hour - time.Minute)
		h.is(ended[0], callbackd.StatusExpired)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		for _, key := range ended {
			if _, err := h.app.store.Session(h.Context(), h.key.ID, key); callbackd.KindOf(err) != callbackd.KindNotFound {
				h.Fatalf("%s: %v", key, err)
			}
		}
		h.is(running, callbackd.StatusIdle)
	})
}

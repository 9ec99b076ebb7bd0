package storetest

import (
	"fmt"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// pointed walks all events of the suite's key, a few at a time.
func (s *suite) pointed() map[store.Pointer]bool {
	s.Helper()
	out := map[store.Pointer]bool{}
	for after, done := callbackd.EventID(0), false; !done; {
		var to []store.Pointer
		var err error
		to, after, done, err = s.Pointed(s.ctx(), s.key.ID, after, 2)
		s.must(err)
		for _, p := range to {
			out[p] = true
		}
	}
	return out
}

func (s *suite) mustForget(before time.Time, want int) {
	s.Helper()
	n, err := s.Forget(s.ctx(), s.key.ID, s.pointed(), before, 100)
	s.must(err)
	if n != want {
		s.Errorf("%d rows were removed, want %d", n, want)
	}
}

func (s *suite) mustDelete(ev callbackd.EventType, name string) {
	s.Helper()
	_, err := s.DeleteCallback(s.ctx(), s.key.ID, ev, name, s.at)
	s.must(err)
}

// moveTo gives the callback another URL.
func (s *suite) moveTo(cb *callbackd.Callback, path string) {
	s.Helper()
	next := *cb
	next.URL = "https://a.example/" + path
	_, err := s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
}

// forget removes what nothing points at, once it is old enough, and never
// gives a number again.
func (s *suite) forget() {
	kept := s.newCallback(s.key, ev1, "kept")
	gone := s.newCallback(s.key, ev2, "gone")
	s.moveTo(kept, "2")
	s.moveTo(kept, "3")
	s.mustDelete(ev2, "gone")
	for _, before := range []time.Time{s.at.Add(-time.Hour), s.at} {
		if keys, err := s.Forgettable(s.ctx(), before); err != nil || len(keys) != 0 {
			s.Errorf("at once %v can go: %v", keys, err)
		}
		s.mustForget(before, 0)
	}
	later := s.at.Add(time.Hour)
	if keys, err := s.Forgettable(s.ctx(), later); err != nil || !slices.Equal(keys, []callbackd.KeyID{s.key.ID}) {
		s.Errorf("later %v can go: %v", keys, err)
	}
	if n, err := s.Forget(s.ctx(), s.newKey("other").ID, nil, later, 100); err != nil || n != 0 {
		s.Errorf("of another key %d rows were removed: %v", n, err)
	}
	s.mustForget(later, 3)
	if keys, err := s.Forgettable(s.ctx(), later); err != nil || len(keys) != 0 {
		s.Errorf("afterwards %v can go: %v", keys, err)
	}
	_, err := s.CallbackByID(s.ctx(), gone.ID)
	s.kind(err, callbackd.KindNotFound)
	_, err = s.CallbackVersion(s.ctx(), kept.ID, 2)
	s.kind(err, callbackd.KindNotFound)
	if now, err := s.CallbackVersion(s.ctx(), kept.ID, 3); err != nil || now.URL != "https://a.example/3" {
		s.Errorf("the setting in force: %+v, %v", now, err)
	}
	s.reopen()
	if next := s.newCallback(s.key, ev2, "next"); next.ID == gone.ID {
		s.Errorf("the number %d was given again", next.ID)
	}
}

// forgetNothingPointedAt keeps what events, attempts and replays are of, until
// those are gone.
func (s *suite) forgetNothingPointedAt() {
	cb := s.newCallback(s.key, ev1, "default")
	unused := s.newCallback(s.key, ev1, "unused")
	s.publish(s.key, ev1, "A", "B", "C")
	s.outcome(s.fresh(cb.ID)[0], callbackd.Delivered, time.Time{}, time.Time{}) // with version 1
	s.moveTo(cb, "2")
	s.moveTo(cb, "3")
	later := s.at.Add(2 * time.Hour)
	s.mustForget(later, 1) // version 2
	if got, err := s.CallbackVersion(s.ctx(), cb.ID, 1); err != nil || got.URL != "https://a.example/h" {
		s.Errorf("the setting of an attempt: %+v, %v", got, err)
	}
	s.mustDelete(ev1, "default")
	s.mustDelete(ev1, "unused")
	s.mustForget(later, 0) // both are owed these events
	s.balanced()
	for _, no := range []callbackd.CallbackID{cb.ID, unused.ID} {
		if _, err := s.CallbackByID(s.ctx(), no); err != nil {
			s.Error(err)
		}
	}
	if _, err := s.FinalizeCanceled(s.ctx(), s.at, 100); err != nil {
		s.Error(err)
	}
	for next, done := callbackd.EventID(0), false; !done; {
		var err error
		next, _, done, err = s.Sweep(s.ctx(), s.at.Add(time.Hour), next, 100)
		s.must(err)
	}
	s.mustForget(later, 2)
}

// sameSetting stores nothing when nothing changes, and no version when the
// same is sent.
func (s *suite) sameSetting() {
	cb := s.newCallback(s.key, ev1, "default")
	s.at = s.at.Add(time.Second)
	for range 3 {
		next := *cb
		got, err := s.ReplaceCallback(s.ctx(), next, s.at)
		s.must(err)
		if got.Version != 1 || !got.UpdatedAt.Equal(cb.UpdatedAt) {
			s.Errorf("the same setting is version %d of %v", got.Version, got.UpdatedAt)
		}
	}
	next := *cb
	next.Policy.Rate = 3
	got, err := s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
	if got.Version != 1 || got.Policy.Rate != 3 || !got.UpdatedAt.Equal(s.at) {
		s.Errorf("another policy: version %d, %+v, %v", got.Version, got.Policy, got.UpdatedAt)
	}
	if stored, err := s.Callback(s.ctx(), s.key.ID, ev1, "default"); err != nil || stored.Policy.Rate != 3 {
		s.Errorf("stored: %+v, %v", stored, err)
	}
	for i, change := range []func(*callbackd.Callback){
		func(c *callbackd.Callback) { c.URL += "x" },
		func(c *callbackd.Callback) { c.Method = "PUT" },
		func(c *callbackd.Callback) { c.Payload = []byte(`{"x": 1}`) },
		func(c *callbackd.Callback) { c.Headers = []callbackd.Header{{Name: "x-b", Value: "header secret"}} },
	} {
		change(&next)
		if got, err := s.ReplaceCallback(s.ctx(), next, s.at); err != nil || got.Version != int64(i+2) {
			s.Errorf("change %d: %+v, %v", i, got, err)
		}
	}
	_, err = s.PauseCallback(s.ctx(), s.key.ID, ev1, "default", callbackd.Pause{Reason: callbackd.PausedGone, At: s.at})
	s.must(err)
	if got, err := s.ReplaceCallback(s.ctx(), next, s.at); err != nil || got.Paused() || got.Version != 5 {
		s.Errorf("the same setting ends a pause: %+v, %v", got, err)
	}
}

// deletedAreListed finds the deliveries of deleted callbacks in every list, and
// names those.
func (s *suite) deletedAreListed() {
	failed, canceled, waiting := s.newCallback(s.key, ev1, "failed"), s.newCallback(s.key, ev1, "canceled"), s.newCallback(s.key, ev1, "waiting")
	evs := s.publish(s.key, ev1, "A")
	s.outcome(s.fresh(failed.ID)[0], callbackd.Failed, time.Time{}, time.Time{})
	for _, name := range []string{"failed", "canceled"} {
		s.mustDelete(ev1, name)
	}
	for range 30 { // that were never owed anything
		s.newCallback(s.key, ev2, "empty")
		s.mustDelete(ev2, "empty")
	}
	want := map[callbackd.State][]callbackd.CallbackID{
		"": {waiting.ID, canceled.ID, failed.ID}, callbackd.Failed: {failed.ID}, callbackd.Canceled: {canceled.ID}, callbackd.Pending: {waiting.ID},
	}
	check := func(when string) {
		for state, nos := range want {
			page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, State: state, Limit: 10})
			s.must(err)
			var got []callbackd.CallbackID
			for _, d := range page.Deliveries {
				got = append(got, d.Callback.ID)
				if d.Callback.Name == "" || d.Callback.URL == "" || len(d.Callback.Secrets) != 0 || len(d.Callback.Headers) != 0 || d.Callback.Deleted() != (d.Callback.ID != waiting.ID) {
					s.Errorf("%s: listed with %+v", when, d.Callback)
				}
			}
			slices.Sort(got)
			slices.Sort(nos)
			if !slices.Equal(got, nos) {
				s.Errorf("%s: state %q has deliveries of %v, want %v", when, state, got, nos)
			}
		}
		if page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Status: 500, Limit: 10}); err != nil || len(page.Deliveries) != 1 {
			s.Errorf("%s: by status: %+v, %v", when, page, err)
		}
		story, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.key.ID, Session: "A", Limit: 10})
		if err != nil || len(story) != 1 || len(story[0].Deliveries) != 3 || story[0].ID != evs[0].ID {
			s.Errorf("%s: the session's story: %+v, %v", when, story, err)
		}
	}
	check("before it is settled")
	if n, err := s.FinalizeCanceled(s.ctx(), s.at, 10); err != nil || n != 1 {
		s.Errorf("settled %d, %v", n, err)
	}
	check("afterwards")
}

// loginsLimited ends the oldest sign-in of a key for one that is beyond the
// limit.
func (s *suite) loginsLimited() {
	other := store.Login{Hash: [32]byte{1}, Key: s.newKey("other").ID, CreatedAt: s.at, ExpiresAt: s.at.Add(time.Hour)}
	s.must(s.CreateLogin(s.ctx(), other))
	var all []store.Login
	for i := range store.MaxLogins + 2 {
		s.at = s.at.Add(time.Millisecond)
		all = append(all, s.login(fmt.Sprint("browser ", i), false, time.Hour))
	}
	for i, l := range append(all, other) {
		_, err := s.Login(s.ctx(), l.Hash, s.at)
		if i < 2 {
			s.kind(err, callbackd.KindNotFound)
		} else {
			s.must(err)
		}
	}
}

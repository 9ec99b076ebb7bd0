package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var forgetTests = map[string]func(*suite){
	"Forget":                         (*suite).forget,
	"ForgetNothingTooEarly":          (*suite).forgetEarly,
	"ForgetNothingOfOtherKeys":       (*suite).forgetOther,
	"ForgottenNumbersAreNotReused":   (*suite).forgetNumbers,
	"ForgetNoSettingOfAnAttempt":     (*suite).forgetNoSetting,
	"ForgetNoCallbackOfAnEvent":      (*suite).forgetNoCallback,
	"ForgetCallbacksWithoutAnyEvent": (*suite).forgetAfterSweep,
}

// removeUnused removes unused settings of a key to the end, in steps of two events or
// two settings, and returns how many.
func (s *suite) removeUnused(key callbackd.KeyID, before time.Time) (removed int) {
	s.Helper()
	for f := (store.Forget{Key: key, Before: before, Events: 2, Rows: 2}); !f.Done; {
		n, err := s.Forget(s.ctx(), &f)
		s.must(err)
		removed += n
	}
	return removed
}

// forgets removes what no event refers to and checks how many rows that were.
func (s *suite) forgets(before time.Time, want int) {
	s.Helper()
	s.equal("callbacks and settings that were removed", s.removeUnused(s.key.ID, before), want)
}

// forgettable compares the keys that have something to forget.
func (s *suite) forgettable(before time.Time, want ...callbackd.KeyID) {
	s.Helper()
	keys, err := s.Forgettable(s.ctx(), before)
	s.must(err)
	s.equal("keys with something to forget", keys, want)
}

// unused creates a callback that has had three settings, and deletes another.
func (s *suite) unused() (changed, deleted *callbackd.Callback) {
	s.Helper()
	changed, deleted = s.newCallback(s.key, ev1, "changed"), s.newCallback(s.key, ev2, "deleted")
	s.replace(changed, "https://a.example/2")
	s.replace(changed, "https://a.example/3")
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev2, "deleted", s.at)))
	return changed, deleted
}

func (s *suite) forget() {
	changed, deleted := s.unused()
	later := s.at.Add(time.Hour)
	s.forgettable(later, s.key.ID)
	s.forgets(later, 3)
	s.forgettable(later)
	s.kind(second(s.CallbackByID(s.ctx(), deleted.ID)), callbackd.KindNotFound)
	s.kind(second(s.CallbackVersion(s.ctx(), changed.ID, 2)), callbackd.KindNotFound)
	now, err := s.CallbackVersion(s.ctx(), changed.ID, 3)
	s.must(err)
	s.equal("the URL of the setting in force", now.URL, "https://a.example/3")
}

func (s *suite) forgetEarly() {
	s.unused()
	for _, before := range []time.Time{s.at.Add(-time.Hour), s.at} {
		s.forgettable(before)
		s.forgets(before, 0)
	}
}

func (s *suite) forgetOther() {
	s.unused()
	other := s.newKey("other").ID
	s.equal("callbacks and settings of the other key that were removed", s.removeUnused(other, s.at.Add(time.Hour)), 0)
}

func (s *suite) forgetNumbers() {
	_, deleted := s.unused()
	s.forgets(s.at.Add(time.Hour), 3)
	s.reopen()
	if next := s.newCallback(s.key, ev2, "next"); next.ID == deleted.ID {
		s.Errorf("the new callback has the ID %d of the removed one; want another", next.ID)
	}
}

// forgetNoSetting shows that the setting of an attempt stays while its event
// does.
func (s *suite) forgetNoSetting() {
	cb, ds := s.pending("A", "B", "C")
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{}) // with version 1
	s.replace(cb, "https://a.example/2")
	s.replace(cb, "https://a.example/3")
	s.forgets(s.at.Add(time.Hour), 1) // version 2
	got, err := s.CallbackVersion(s.ctx(), cb.ID, 1)
	s.must(err)
	s.equal("the URL of the attempt's setting", got.URL, "https://a.example/h")
}

// targetsDeleted creates two callbacks with deliveries of the same events, and
// deletes both.
func (s *suite) targetsDeleted() (ids []callbackd.CallbackID) {
	s.Helper()
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	s.publish(s.key, ev1, "A", "B", "C")
	s.outcome(s.fresh(a.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	for _, cb := range []*callbackd.Callback{a, b} {
		s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, cb.Name, s.at)))
		ids = append(ids, cb.ID)
	}
	return ids
}

func (s *suite) forgetNoCallback() {
	ids := s.targetsDeleted()
	s.forgets(s.at.Add(time.Hour), 0)
	s.balanced()
	for _, id := range ids {
		s.must(second(s.CallbackByID(s.ctx(), id)))
	}
}

func (s *suite) forgetAfterSweep() {
	s.targetsDeleted()
	s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 100)))
	s.sweepAll(s.at.Add(time.Hour))
	s.forgets(s.at.Add(2*time.Hour), 2)
}

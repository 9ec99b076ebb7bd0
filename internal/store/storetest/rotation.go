package storetest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/seal"
)

// Rotation replaces the sealing key of an empty store with the keyset in file, and checks
// that every secret stays what it was. bytes returns the values of all columns of bytes in
// the database, by table and column. What is sealed in a column that the walk does not know
// is found there.
func Rotation(t *testing.T, st store.Store, file string, bytes func(t *testing.T) map[string][][]byte) {
	s := &suite{T: t, Store: st, at: time.Now().Truncate(time.Millisecond)}
	Use(t, st, 1, 300)
	s.key = s.newKey("rotated key")
	cb := s.newCallback(s.key, ev1, "rotated")
	s.must(s.RotateKey(s.ctx(), s.key.APIKey, "new secret", s.at.Add(time.Hour)))
	x := s.newSession(s.key, nil)
	answer, err := s.note(x, "body")
	s.must(err)
	first := s.Keyset().Primary

	second, err := seal.Add(file)
	s.must(err)
	s.reload(true)
	s.reload(false)
	s.equal("the key that seals before the promotion", s.Keyset().Primary, first)
	s.must(seal.Promote(file, second))
	s.reload(true)

	counts := s.walk(false, 3)
	total := counts.ByKey[first]
	if total < 20 || counts.Secrets != total || counts.FaultN > 0 {
		t.Fatalf("%+v, want more than 20 secrets that the first key has sealed", counts)
	}
	s.sealedIn(bytes(t), first, total)
	s.resealHalf(second)
	if counts = s.walk(true, 7); counts.Resealed == 0 || counts.ByKey[second] == 0 {
		t.Errorf("%+v, want a walk that seals what an interrupted one has left", counts)
	}
	counts = s.walk(true, 500)
	s.equal("secrets sealed by a second walk", counts.Resealed, int64(0))
	s.equal("secrets by key", counts.ByKey, map[callbackd.SealingKey]int64{second: total})
	s.sealedIn(bytes(t), second, total)

	s.must(seal.Remove(file, first))
	s.reload(true)
	s.concurrentChange(file, second)
	report, err := s.Check(s.ctx())
	s.must(err)
	s.equal("faults after the rotation", report.Faults, []string(nil))
	if report.Sealed.Secrets < total {
		t.Errorf("fsck opens %d secrets, want %d at least", report.Sealed.Secrets, total)
	}
	stored, err := s.CallbackVersion(s.ctx(), cb.ID, 1)
	s.must(err)
	s.equal("signing secrets", stored.Secrets, cb.Secrets)
	s.equal("headers", stored.Headers, cb.Headers)
	_, err = s.note(x, "body")
	s.equal("the stored answer", firstAnswer(err), answer)
}

// UnknownKey checks what a store says of secrets that are sealed with a key that its file
// does not have, as on a node that has not got the new file yet. file is the keyset of st.
func UnknownKey(t *testing.T, st store.Store, file string) {
	s := &suite{T: t, Store: st, at: time.Now().Truncate(time.Millisecond)}
	s.key = s.newKey("k1")
	before, err := os.ReadFile(file)
	s.must(err)
	id, err := seal.Add(file)
	s.must(err)
	s.must(seal.Promote(file, id))
	s.reload(true)
	after, err := os.ReadFile(file)
	s.must(err)
	cb := s.newCallback(s.key, ev1, "new")

	s.must(os.WriteFile(file, before, 0o600))
	s.reload(true)
	what := fmt.Sprintf("the key %s, which the keyset %s does not have", id, file)
	report, err := s.Check(s.ctx())
	s.must(err)
	if report.FaultN != 2 || !strings.Contains(report.Faults[0], what) {
		t.Errorf("fsck finds %q, want two secrets of the callback sealed with %q", report.Faults, what)
	}
	s.equal("secrets of the unknown key", report.Sealed.ByKey[id], int64(2))
	counts := s.walk(true, 10)
	s.equal("secrets that are changed", counts.Resealed, int64(0))
	s.equal("secrets that do not open", counts.FaultN, int64(2))
	if _, err := s.CallbackVersion(s.ctx(), cb.ID, 1); err == nil || !strings.Contains(err.Error(), what) {
		t.Errorf("the callback is read with %v, want %q", err, what)
	}
	_, err = s.DeleteCallback(s.ctx(), s.key.ID, ev1, "new", s.at)
	if err == nil {
		t.Error("a callback whose secrets do not open was changed")
	}

	s.must(os.WriteFile(file, after, 0o600)) // and nobody calls ReloadKeyset
	stored, err := s.CallbackVersion(s.ctx(), cb.ID, 1)
	s.must(err)
	s.equal("the signing secrets when the file is there", stored.Secrets, cb.Secrets)
	s.balanced()
}

func (s *suite) reload(want bool) {
	s.Helper()
	changed, err := s.ReloadKeyset()
	s.must(err)
	s.equal("the keyset has changed", changed, want)
}

// walk walks over everything that is sealed.
func (s *suite) walk(reseal bool, rows int) store.SealedCounts {
	s.Helper()
	w := store.SealedWalk{Reseal: reseal, Rows: rows, Count: true}
	for !w.Done {
		s.must(s.WalkSealed(s.ctx(), &w))
	}
	s.equal("secrets that the first step counted", w.Total, w.Sealed.Secrets)
	return w.Sealed
}

// resealHalf begins a walk and does not end it.
func (s *suite) resealHalf(primary callbackd.SealingKey) {
	s.Helper()
	w := store.SealedWalk{Reseal: true, Rows: 2}
	for range 4 {
		s.must(s.WalkSealed(s.ctx(), &w))
	}
	if w.Done || w.Sealed.Resealed == 0 {
		s.Fatalf("%+v, want a walk that has sealed something and is not done", w)
	}
}

// sealedIn checks that so many values in the database name a key.
func (s *suite) sealedIn(columns map[string][][]byte, key callbackd.SealingKey, want int64) {
	s.Helper()
	n, in := int64(0), map[string]int{}
	for column, values := range columns {
		for _, v := range values {
			if seal.KeyOf(v) == key {
				n++
				in[column]++
			}
		}
	}
	if n != want {
		s.Errorf("%d values in the database are sealed with the key, in %v; the walk counts %d. A sealed column is missing in core, or is there twice", n, slices.Sorted(maps.Keys(in)), want)
	}
}

// concurrentChange replaces the sealing key again and again while a secret changes. No walk
// may bring back a secret that was replaced.
func (s *suite) concurrentChange(file string, first callbackd.SealingKey) {
	s.Helper()
	other, err := seal.Add(file)
	s.must(err)
	var work sync.WaitGroup
	done := make(chan struct{})
	work.Go(func() {
		defer close(done)
		for i := range 60 {
			secret := callbackd.Secret(fmt.Sprint("secret ", i))
			if err := s.RotateKey(s.ctx(), s.key.APIKey, secret, s.at.Add(time.Hour)); err != nil {
				s.Error(err)
			}
			keys, err := s.ListKeys(s.ctx()) // past the cache
			if err != nil {
				s.Error(err)
				return
			}
			if got := keys[len(keys)-1].Secret; got != secret {
				s.Errorf("the secret is %q after it was made %q", got.Reveal(), secret.Reveal())
			}
		}
	})
	for next := other; ; {
		select {
		case <-done:
			work.Wait()
			return
		default:
		}
		s.must(seal.Promote(file, next))
		if _, err := s.ReloadKeyset(); err != nil {
			s.Fatal(err)
		}
		s.walk(true, 500)
		if next == first {
			next = other
		} else {
			next = first
		}
	}
}

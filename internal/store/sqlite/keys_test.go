package sqlite

import (
	"testing"
	"time"

	"callbackd"
)

// What another process changes of a key is known after the next commit. Until then
// commits show that nothing has changed, so the keys are not read again.
func TestCommitsShowWhetherAnotherProcessChangedKeys(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s := open(t, o)
	defer s.Close()
	o.Secondary = true
	command := open(t, o)
	defer command.Close()
	if _, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	commit := func() {
		t.Helper()
		if err := s.write(t.Context(), func(*tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	secret := func() string {
		t.Helper()
		k, err := s.Key(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		return string(k.Secret)
	}
	setKeyAge := func(checkedAt time.Time) {
		s.keys.mu.Lock()
		defer s.keys.mu.Unlock()
		s.keys.checkedAt, s.keys.readAt = checkedAt, time.Time{}
	}
	dropped := func() bool {
		s.keys.mu.Lock()
		defer s.keys.mu.Unlock()
		return !s.keys.readAt.IsZero()
	}
	commit()
	secret()

	for range 3 {
		commit()
		setKeyAge(time.Now().Add(time.Hour)) // however slow this machine is
		secret()
	}
	if dropped() {
		t.Error("keys were dropped though nobody changed any; want them kept")
	}

	err := command.ChangeKey(t.Context(), "k", func(k *callbackd.Key) error { k.Secret = "b"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	commit()
	setKeyAge(time.Now().Add(time.Hour))
	if got := secret(); got != "b" {
		t.Errorf("after another process has changed the key, its secret is %q; want b", got)
	}

	err = command.ChangeKey(t.Context(), "k", func(k *callbackd.Key) error { k.Secret = "c"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	setKeyAge(time.Time{})
	if got := secret(); got != "c" {
		t.Errorf("without a commit for a long time, the secret is %q; want c", got)
	}
}

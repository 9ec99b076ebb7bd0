package storetest

import (
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// settings makes many changes of API keys and callbacks at once, or none.
func (s *suite) settings() {
	kept := s.callbackNamed("kept")
	gone := s.callbackNamed("gone")
	revoked := s.newKey("revoked")
	s.must(s.ChangeKey(s.ctx(), revoked.APIKey, func(k *callbackd.Key) error { k.Revoke(s.at); return nil }))
	before, err := s.ReadSettings(s.ctx())
	s.must(err)
	s.equal("the keys and callbacks", settingsNames(before), []string{s.key.APIKey, "gone", "kept", revoked.APIKey})

	key := callbackd.Key{Account: "new", APIKey: "the-new-key", Secret: "the-new-secret", Live: true, CreatedAt: s.at}
	plan := func(now []callbackd.KeySettings) (out []callbackd.SettingsChange, err error) {
		made, changed := key, now[0].Key
		changed.Limits.Callbacks = 2
		renamed, deleted, added := *now[0].Callbacks[1], *now[0].Callbacks[0], *now[0].Callbacks[1]
		renamed.Releasing, deleted.Releasing = false, false
		next := renamed
		next.Method = "PUT"
		renamed.Replace(&next, s.at)
		deleted.Delete(s.at)
		added.ID, added.Name, added.CreatedAt = 0, "added", s.at
		added.Pause = callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at}
		out = []callbackd.SettingsChange{
			{Place: "keys[1]", Key: &made},
			{Place: "keys[0]", KeyBefore: &now[0].Key, Key: &changed},
			{Key: &changed, Before: now[0].Callbacks[0], After: &deleted},
			{Place: "keys[0].callbacks[0]", Key: &changed, Before: now[0].Callbacks[1], After: &renamed},
			{Place: "keys[1].callbacks[0]", Key: &made, After: &added},
		}
		return out, nil
	}
	refused := callbackd.Invalid("refused")
	_, err = s.ChangeSettings(s.ctx(), func(now []callbackd.KeySettings) ([]callbackd.SettingsChange, error) { return nil, refused })
	s.kind(err, callbackd.KindInvalid)
	_, err = s.ChangeSettings(s.ctx(), func(now []callbackd.KeySettings) ([]callbackd.SettingsChange, error) {
		all, err := plan(now)
		again := *all[0].Key
		return append(all, callbackd.SettingsChange{Place: "keys[7]", Key: &again}), err
	})
	s.kind(err, callbackd.KindConflict)
	s.equal("whether the error names the place", strings.HasPrefix(err.Error(), "In keys[7]: "), true)
	after, err := s.ReadSettings(s.ctx())
	s.must(err)
	s.equal("the settings after changes that failed", settingsNames(after), settingsNames(before))

	changes, err := s.ChangeSettings(s.ctx(), plan)
	s.must(err)
	s.reopen()
	after, err = s.ReadSettings(s.ctx())
	s.must(err)
	s.equal("the settings after the changes", settingsNames(after), []string{s.key.APIKey, "kept", revoked.APIKey, "the-new-key", "added"})
	made, err := s.Key(s.ctx(), "the-new-key")
	s.must(err)
	s.equal("the new key", []any{made.Account, made.Secret, made.ID}, []any{key.Account, key.Secret, changes[0].Key.ID})
	added, err := s.CallbackByID(s.ctx(), changes[4].After.ID)
	s.must(err)
	s.equal("the new callback", []any{added.Key, added.Paused(), added.Version, added.Secrets}, []any{made.ID, true, int64(1), changes[4].After.Secrets})
	put, err := s.CallbackByID(s.ctx(), kept.ID)
	s.must(err)
	s.equal("the changed callback", []any{put.Method, put.Version}, []any{"PUT", int64(2)})
	old, err := s.CallbackByID(s.ctx(), gone.ID)
	s.must(err)
	s.equal("the deleted callback", old.Deleted(), true)
	owner, err := s.KeyByID(s.ctx(), s.key.ID)
	s.must(err)
	s.equal("the changed key", owner.Limits.Callbacks, 2)

	page, err := s.ListAudit(s.ctx(), store.AuditQuery{Key: made.ID, Limit: 9})
	s.must(err)
	s.equal("the entries of the new key", []callbackd.AuditAction{page.Entries[0].Action, page.Entries[1].Action}, []callbackd.AuditAction{callbackd.AuditCallbackCreated, callbackd.AuditKeyCreated})
	report, err := s.VerifyAudit(s.ctx(), nil, nil)
	s.must(err)
	s.equal("faults of the audit log", report.FaultN, int64(0))
	_, err = s.ChangeSettings(s.ctx(), func(now []callbackd.KeySettings) ([]callbackd.SettingsChange, error) { return nil, nil })
	s.must(err)
}

// callbackNamed makes a callback with a name.
func (s *suite) callbackNamed(name string) *callbackd.Callback {
	s.Helper()
	cb, _, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: callbackd.Complete, Name: name, URL: "https://a.example/", Method: "POST", Payload: []byte("{}"),
		Secrets: []callbackd.SigningSecret{{Value: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}}, s.at.Truncate(time.Millisecond))
	s.must(err)
	return cb
}

// settingsNames returns the keys, each followed by the names of its callbacks.
func settingsNames(all []callbackd.KeySettings) (names []string) {
	for _, k := range all {
		names = append(names, k.Key.APIKey)
		for _, cb := range k.Callbacks {
			names = append(names, cb.Name)
		}
	}
	return names
}

package storetest

import (
	"time"

	"callbackd"
)

var keyTests = map[string]func(*suite){
	"Keys":                   (*suite).keys,
	"KeyTextsAreUnique":      (*suite).keyTexts,
	"RevokedKeys":            (*suite).revokedKeys,
	"KeyRotation":            (*suite).keyRotation,
	"CaptureTemplates":       (*suite).captureTemplates,
	"SettingsOfKeys":         (*suite).keySettings,
	"KeysAreListed":          (*suite).keysListed,
	"OtherKeysObjects":       (*suite).otherKeys,
	"Logins":                 (*suite).logins,
	"Settings":               (*suite).settings,
	"Links":                  (*suite).links,
	"CustomerLinks":          (*suite).customerLinks,
	"LoginsOfAKeyAreLimited": (*suite).loginsLimited,
}

func (s *suite) keys() {
	k, err := s.Key(s.ctx(), "k1")
	s.must(err)
	want := callbackd.Key{ID: s.key.ID, Account: "acme", APIKey: "k1", Secret: "secret of k1", Name: "n", Live: true, CreatedAt: s.at, TimeFrame: k.TimeFrame}
	s.equal("the key", *k, want)
	byID, err := s.KeyByID(s.ctx(), k.ID)
	s.must(err)
	s.equal("the key by its ID", *byID, want)
	s.kind(second(s.KeyByID(s.ctx(), 1<<40)), callbackd.KindNotFound)
	s.kind(second(s.Key(s.ctx(), "k2")), callbackd.KindNotFound)
}

func (s *suite) keyTexts() {
	s.kind(second(s.CreateKey(s.ctx(), callbackd.Key{APIKey: "k1", CreatedAt: s.at})), callbackd.KindConflict)
	// A header may hold bytes that no key has. The store must answer NotFound and not
	// with a fault.
	for _, text := range []string{"k\xff", "k\x00"} {
		s.kind(second(s.Key(s.ctx(), text)), callbackd.KindNotFound)
	}
}

func (s *suite) revokedKeys() {
	s.must(s.RevokeKey(s.ctx(), "k1", s.at))
	s.must(s.RevokeKey(s.ctx(), "k1", s.at.Add(time.Hour)))
	k, err := s.Key(s.ctx(), "k1")
	s.must(err)
	s.equal("the time of the first revocation", k.RevokedAt, s.at)
	s.kind(s.RevokeKey(s.ctx(), "none", s.at), callbackd.KindNotFound)
	s.kind(s.RotateKey(s.ctx(), "k1", "x", s.at), callbackd.KindConflict)
}

func (s *suite) keyRotation() {
	s.must(s.RotateKey(s.ctx(), "k1", "second", s.at.Add(time.Hour)))
	s.must(s.RotateKey(s.ctx(), "k1", "third", s.at.Add(2*time.Hour)))
	s.reopen()
	k, err := s.Key(s.ctx(), "k1")
	s.must(err)
	s.equal("the secret", k.Secret, callbackd.Secret("third"))
	s.equal("the secret before", k.OldSecret, callbackd.Secret("second"))
	s.equal("until when it is valid", k.OldUntil, s.at.Add(2*time.Hour))
	s.kind(s.RotateKey(s.ctx(), "none", "x", s.at), callbackd.KindNotFound)
}

func (s *suite) keySettings() {
	end := s.at.Add(time.Hour).UTC()
	next := callbackd.Key{Name: "renamed", TimeFrame: 2 * time.Hour, CaptureURL: "https://c.example/{session_key}", ExpiresAt: end,
		Limits: callbackd.KeyLimits{PublishRate: 0.5, Pending: callbackd.NoLimit, PendingBytes: 1 << 39, Callbacks: 7}, CallbackPolicy: `{"timeout":"5s"}`, Retention: 36 * time.Hour, RetentionEvents: `{"SESSION:COMPLETE":"1h"}`}
	s.must(s.ChangeKey(s.ctx(), "k1", func(k *callbackd.Key) error {
		k.SetSettings(&next)
		return nil
	}))
	own, err := s.CreateKey(s.ctx(), callbackd.Key{Account: "acme", APIKey: "own", Secret: "s", CreatedAt: s.at, ExpiresAt: end,
		Limits: callbackd.KeyLimits{PublishRate: 3}, CallbackPolicy: `{"rate":2}`, Retention: time.Hour})
	s.must(err)
	s.reopen()
	k, err := s.Key(s.ctx(), "k1")
	s.must(err)
	want := s.key
	want.SetSettings(&next)
	s.equal("the changed key", *k, want)
	k, err = s.KeyByID(s.ctx(), own.ID)
	s.must(err)
	s.equal("when the new key expires", k.ExpiresAt, end)
	s.equal("the limits of the new key", k.Limits, callbackd.KeyLimits{PublishRate: 3})
	s.equal("the policy for callbacks of the new key", k.CallbackPolicy, `{"rate":2}`)
	s.equal("the retention of the new key", k.Retention, time.Hour)
	s.must(s.ChangeKey(s.ctx(), "own", func(k *callbackd.Key) error {
		k.SetSettings(&callbackd.Key{})
		return nil
	}))
	k, err = s.Key(s.ctx(), "own")
	s.must(err)
	s.equal("when a key expires that no longer does", k.ExpiresAt, time.Time{})
	s.equal("the limits of a key that has none any more", k.Limits, callbackd.KeyLimits{})
	s.equal("the policy for callbacks that is gone", k.CallbackPolicy, "")
	s.equal("the retention that is gone", k.Retention, time.Duration(0))
}

func (s *suite) captureTemplates() {
	const template = callbackd.CaptureTemplate("https://{account}.capture.example/{session_key}")
	s.must(s.SetCaptureURL(s.ctx(), "k1", template))
	s.kind(s.SetCaptureURL(s.ctx(), "none", template), callbackd.KindNotFound)
	own, err := s.CreateKey(s.ctx(), callbackd.Key{Account: "acme", APIKey: "own", Secret: "s", CreatedAt: s.at, CaptureURL: template + "/own"})
	s.must(err)
	check := func(when string) {
		s.Helper()
		k, err := s.Key(s.ctx(), "k1")
		s.must(err)
		s.equal("the template that was set, "+when, k.CaptureURL, template)
		s.equal("the secret of that key, "+when, k.Secret, s.key.Secret)
		k, err = s.KeyByID(s.ctx(), own.ID)
		s.must(err)
		s.equal("the template of a new key, "+when, k.CaptureURL, template+"/own")
	}
	check("at once")
	s.reopen()
	check("after a restart")
	s.must(s.SetCaptureURL(s.ctx(), "own", ""))
	k, err := s.KeyByID(s.ctx(), own.ID)
	s.must(err)
	s.equal("the template that was removed", k.CaptureURL, callbackd.CaptureTemplate(""))
}

func (s *suite) keysListed() {
	s.newKey("k2")
	s.newKey("k3")
	s.must(s.RevokeKey(s.ctx(), "k2", s.at))
	all, err := s.ListKeys(s.ctx())
	s.must(err)
	var texts []string
	var revoked []time.Time
	for _, k := range all {
		texts = append(texts, k.APIKey)
		revoked = append(revoked, k.RevokedAt)
	}
	s.equal("all keys, oldest first", texts, []string{"k1", "k2", "k3"})
	s.equal("when they were revoked", revoked, []time.Time{{}, s.at, {}})
}

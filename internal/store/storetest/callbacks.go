package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var callbackTests = map[string]func(*suite){
	"Callbacks":                         (*suite).callbacks,
	"ASecondCallbackOfTheNameIsNotMade": (*suite).sameName,
	"CallbacksInOrder":                  (*suite).callbackOrder,
	"CallbacksThatAreNotThere":          (*suite).noCallbacks,
	"Rotation":                          (*suite).rotation,
	"ReplaceSameReceiver":               (*suite).replaceSameReceiver,
	"ReplaceOtherHost":                  (*suite).replaceOtherHost,
	"SignIn":                            (*suite).signIn,
	"SameSettingIsNoVersion":            (*suite).sameSetting,
	"AnotherPolicyIsNoVersion":          (*suite).otherPolicy,
	"AnotherSettingIsAVersion":          (*suite).otherSettings,
	"SameSettingEndsAPause":             (*suite).sameSettingOfPaused,
}

func (s *suite) callbacks() {
	cb := s.newCallback(s.key, ev2, "default")
	got, err := store.CallbackNamed(s.ctx(), s, s.key.ID, ev2, "default")
	s.must(err)
	want := callbackd.Callback{
		ID: cb.ID, Key: s.key.ID, Event: ev2, Name: "default", Version: 1,
		URL: "https://a.example/h", Method: "POST", Payload: []byte(`{"x":1}`),
		Headers:   []callbackd.Header{{Name: "X-B", Value: "header secret"}, {Name: "X-A", Value: "2"}},
		Policy:    callbackd.Policy{Rate: 2, Retry: []time.Duration{0, time.Second}, NoKeepAlive: true},
		Secrets:   []callbackd.SigningSecret{{Value: "first"}},
		CreatedAt: s.at, UpdatedAt: s.at,
	}
	s.equal("the callback", *got, want)
}

func (s *suite) sameName() {
	s.newCallback(s.key, ev2, "default")
	same, created, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: ev2, Name: "default", URL: "https://other.example/"}, s.at)
	s.must(err)
	s.equal("whether it was created", created, false)
	s.equal("the URL of the first one", same.URL, "https://a.example/h")
}

func (s *suite) callbackOrder() {
	s.newCallback(s.key, ev2, "default")
	s.newCallback(s.key, ev1, "b")
	s.newCallback(s.key, ev1, "a")
	s.newCallback(s.newKey("other"), ev1, "b")
	for _, c := range []struct {
		what string
		q    store.CallbackQuery
		want []string
	}{
		{"callbacks by event, then by name", store.CallbackQuery{}, []string{string(ev1) + " a", string(ev1) + " b", string(ev2) + " default"}},
		{"callbacks for an event", store.CallbackQuery{Event: ev1}, []string{string(ev1) + " a", string(ev1) + " b"}},
		{"callbacks with a name", store.CallbackQuery{Name: "b"}, []string{string(ev1) + " b"}},
		{"a callback for an event with a name", store.CallbackQuery{Event: ev2, Name: "default"}, []string{string(ev2) + " default"}},
		{"callbacks for an event with the name of another one", store.CallbackQuery{Event: ev2, Name: "b"}, nil},
	} {
		c.q.Key = s.key.ID
		page, err := s.ListCallbacks(s.ctx(), c.q)
		s.must(err)
		var names []string
		for _, cb := range page.Callbacks {
			names = append(names, string(cb.Event)+" "+cb.Name)
		}
		s.equal(c.what, names, c.want)
	}
}

func (s *suite) noCallbacks() {
	cb := s.newCallback(s.key, ev2, "default")
	for what, err := range map[string]error{
		"Callback":         second(store.CallbackNamed(s.ctx(), s, s.key.ID, ev2, "none")),
		"without a name":   second(store.CallbackNamed(s.ctx(), s, s.key.ID, ev2, "")),
		"without an event": second(store.CallbackNamed(s.ctx(), s, s.key.ID, "", "default")),
		"DeleteCallback":   second(s.DeleteCallback(s.ctx(), s.key.ID, ev2, "none", s.at)),
		"ReplaceCallback":  second(s.ReplaceCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: ev2, Name: "none"}, s.at)),
		"PauseCallback":    second(s.PauseCallback(s.ctx(), s.key.ID, ev2, "none", callbackd.Pause{})),
		"RotateSecret":     second(s.RotateSecret(s.ctx(), s.key.ID, ev2, "none", "x", s.at, s.at)),
		"CallbackByID":     second(s.CallbackByID(s.ctx(), 99)),
		"CallbackVersion":  second(s.CallbackVersion(s.ctx(), cb.ID, 9)),
	} {
		if callbackd.KindOf(err) != callbackd.KindNotFound {
			s.Errorf("%s of a callback that does not exist: %v, want NotFound", what, err)
		}
	}
}

func (s *suite) rotation() {
	s.newCallback(s.key, ev1, "default")
	cb, err := s.RotateSecret(s.ctx(), s.key.ID, ev1, "default", "second", s.at.Add(time.Hour), s.at)
	s.must(err)
	s.equal("the secrets while both sign", cb.SigningSecrets(s.at.Add(time.Minute)), []callbackd.Secret{"second", "first"})
	s.equal("the secrets afterwards", cb.SigningSecrets(s.at.Add(2*time.Hour)), []callbackd.Secret{"second"})
	s.reopen()
	cb, err = s.RotateSecret(s.ctx(), s.key.ID, ev1, "default", "third", s.at.Add(5*time.Hour), s.at.Add(2*time.Hour))
	s.must(err)
	s.equal("the secrets after another rotation", cb.SigningSecrets(s.at.Add(3*time.Hour)), []callbackd.Secret{"third", "second"})
	s.equal("how many secrets are kept", len(cb.Secrets), 2)
}

func (s *suite) replaceSameReceiver() {
	cb := s.newCallback(s.key, ev1, "default")
	next := *cb
	next.URL, next.Payload, next.Headers, next.Secrets = "https://a.example/other", []byte("{}"), nil, []callbackd.SigningSecret{{Value: "new"}}
	got, err := s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
	s.equal("the version", got.Version, int64(2))
	s.equal("the secrets, which stay", got.Secrets, []callbackd.SigningSecret{{Value: "first"}})
	s.equal("the headers", got.Headers, []callbackd.Header(nil))
}

func (s *suite) replaceOtherHost() {
	cb := s.newCallback(s.key, ev1, "default")
	next := *cb
	next.Payload, next.Headers, next.Secrets = []byte("{}"), nil, []callbackd.SigningSecret{{Value: "new"}}
	for i, url := range []string{"http://a.example/other", "https://b.example/other", "https://a.example:8443/other"} {
		next.URL = url
		got, err := s.ReplaceCallback(s.ctx(), next, s.at)
		s.must(err)
		s.equal("the version with "+url, got.Version, int64(2+i))
		s.equal("the secrets with "+url, got.Secrets, []callbackd.SigningSecret{{Value: "new"}})
	}
	old, err := s.CallbackVersion(s.ctx(), cb.ID, 1)
	s.must(err)
	s.equal("the URL of version 1", old.URL, "https://a.example/h")
	s.equal("the headers of version 1", old.Headers, cb.Headers)
	s.equal("the number of version 1", old.Version, int64(1))
	now, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	s.equal("the version in force", now.Version, int64(4))
	s.equal("the URL in force", now.URL, next.URL)
}

// signIn shows that all of how a callback signs in is stored, and the credentials before.
func (s *suite) signIn() {
	cb := s.newCallback(s.key, ev1, "default")
	auths := []*callbackd.Auth{
		{OAuth2: &callbackd.OAuth2{TokenURL: "https://id.example/t", ClientID: "id", ClientSecret: "s1", Scope: "a b", Audience: "x", Style: callbackd.StyleBody},
			TLS: &callbackd.ClientTLS{Cert: "cert", Key: "key", CA: "ca", ServerName: "n"}},
		{Basic: &callbackd.BasicAuth{Username: "u", Password: "[redacted]"}},
		{Bearer: &callbackd.BearerAuth{Token: "t"}, TLS: &callbackd.ClientTLS{CA: "ca"}},
	}
	stored := func() *callbackd.Callback {
		got, err := store.CallbackNamed(s.ctx(), s, s.key.ID, ev1, "default")
		s.must(err)
		byID, err := s.CallbackByID(s.ctx(), cb.ID)
		s.must(err)
		s.equal("the callback by its id", *byID, *got)
		return got
	}
	var before *callbackd.Auth
	for i, auth := range auths {
		next := *stored()
		next.Policy.Auth = auth
		_, err := s.ReplaceCallback(s.ctx(), next, s.at)
		s.must(err)
		got := stored()
		s.equal("how it signs in", got.Policy.Auth, auth)
		s.equal("the credentials before", got.OldAuth.Auth, before)
		s.equal("whether they are in force", got.OldAuth.InForce(s.at.Add(callbackd.DefaultKeep-1)), i > 0)
		s.equal("whether they are afterwards", got.OldAuth.InForce(s.at.Add(callbackd.DefaultKeep)), false)
		s.equal("the secrets", got.Secrets, cb.Secrets)
		before = auth
	}
	next := *stored()
	next.URL = "https://other.example/"
	_, err := s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
	s.equal("the credentials before with another receiver", stored().OldAuth, callbackd.OldAuth{})
	next.Policy.Auth = nil
	_, err = s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
	s.equal("how it signs in without", stored().Policy.Auth, (*callbackd.Auth)(nil))
	s.equal("the credentials before without", stored().OldAuth, callbackd.OldAuth{})
}

// sameSetting shows that storing the setting in force again changes nothing.
func (s *suite) sameSetting() {
	cb := s.newCallback(s.key, ev1, "default")
	s.at = s.at.Add(time.Second)
	got := s.replace(cb, cb.URL)
	s.equal("the version", got.Version, int64(1))
	s.equal("when it was updated", got.UpdatedAt, cb.UpdatedAt)
}

func (s *suite) otherPolicy() {
	cb := s.newCallback(s.key, ev1, "default")
	s.at = s.at.Add(time.Second)
	next := *cb
	next.Policy.Rate = 3
	got, err := s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
	s.equal("the version", got.Version, int64(1))
	s.equal("when it was updated", got.UpdatedAt, s.at)
	stored, err := store.CallbackNamed(s.ctx(), s, s.key.ID, ev1, "default")
	s.must(err)
	s.equal("the stored rate", stored.Policy.Rate, 3.0)
}

func (s *suite) otherSettings() {
	next := *s.newCallback(s.key, ev1, "default")
	version := next.Version
	for what, change := range map[string]func(){
		"another URL":     func() { next.URL += "x" },
		"another method":  func() { next.Method = "PUT" },
		"another payload": func() { next.Payload = []byte(`{"x": 1}`) },
		"other headers":   func() { next.Headers = []callbackd.Header{{Name: "x-b", Value: "header secret"}} },
	} {
		change()
		version++
		got, err := s.ReplaceCallback(s.ctx(), next, s.at)
		s.must(err)
		s.equal("the version with "+what, got.Version, version)
	}
}

func (s *suite) sameSettingOfPaused() {
	cb := s.newCallback(s.key, ev1, "default")
	s.must(second(s.PauseCallback(s.ctx(), cb.Key, cb.Event, cb.Name, callbackd.Pause{Reason: callbackd.PausedGone, At: s.at})))
	got := s.replace(cb, cb.URL)
	s.equal("whether it is paused", got.Paused(), false)
	s.equal("the version", got.Version, int64(1))
}

package settings_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/settings"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// options returns options whose texts and secrets are counted, so that a plan is a function
// of its arguments.
func options(prune bool) settings.Options {
	n := 0
	return settings.Options{
		Prune: prune, At: now,
		NewKey: func(account, name string, live bool, at time.Time) (callbackd.Key, error) {
			n++
			return callbackd.Key{Account: account, Name: name, Live: live, CreatedAt: at, APIKey: fmt.Sprint("made-key-", n), Secret: callbackd.Secret(fmt.Sprint("made-secret-of-a-key-", n))}, nil
		},
		NewSecret: func() callbackd.Secret {
			n++
			return callbackd.Secret("whsec_" + strings.Repeat("QUJD", 8))
		},
	}
}

// apply makes the changes of a plan, as a store does.
func apply(t testing.TB, stored []callbackd.KeySettings, p *settings.Plan) (out []callbackd.KeySettings) {
	t.Helper()
	keys := map[callbackd.KeyID]*callbackd.KeySettings{}
	var order []callbackd.KeyID
	next, nextCallback := callbackd.KeyID(1), callbackd.CallbackID(1)
	for _, k := range stored {
		copied := callbackd.KeySettings{Key: k.Key, Callbacks: append([]*callbackd.Callback(nil), k.Callbacks...)}
		keys[k.Key.ID] = &copied
		order, next = append(order, k.Key.ID), max(next, k.Key.ID+1)
		for _, cb := range k.Callbacks {
			nextCallback = max(nextCallback, cb.ID+1)
		}
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		switch {
		case c.After == nil && c.KeyBefore == nil:
			c.Key.ID = next
			keys[next] = &callbackd.KeySettings{Key: *c.Key}
			order, next = append(order, next), next+1
		case c.After == nil:
			keys[c.Key.ID].Key = *c.Key
			if c.Key.Revoked() {
				keys[c.Key.ID].Callbacks = nil
			}
		case c.Before == nil:
			c.After.ID, c.After.Key, c.After.Version = nextCallback, c.Key.ID, 1
			nextCallback++
			keys[c.Key.ID].Callbacks = append(keys[c.Key.ID].Callbacks, c.After)
		default:
			var rest []*callbackd.Callback
			for _, cb := range keys[c.Key.ID].Callbacks {
				switch {
				case cb.ID != c.After.ID:
					rest = append(rest, cb)
				case !c.After.Deleted():
					rest = append(rest, c.After)
				}
			}
			keys[c.Key.ID].Callbacks = rest
		}
	}
	for _, id := range order {
		out = append(out, *keys[id])
	}
	return out
}

func read(t testing.TB, text string) *settings.File {
	t.Helper()
	f, err := settings.Read([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return f
}

func plan(t testing.TB, text string, stored []callbackd.KeySettings, prune bool) *settings.Plan {
	t.Helper()
	p, err := read(t, text).Plan(stored, options(prune))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lines returns a plan in short: a line for each change, with the members that differ.
func lines(p *settings.Plan) (out []string) {
	for _, c := range p.Show(false).Changes {
		line := c.Action + " " + c.KeyName
		if c.Event != "" {
			line += " " + c.Name
		}
		for _, m := range c.Members {
			line += fmt.Sprintf(" %s:%s>%s", m.Name, m.Before, m.After)
		}
		out = append(out, line)
	}
	return out
}

const standard = `"secret":{"value":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`

// stored has an API key with two callbacks, and one without any.
func stored(t testing.TB) []callbackd.KeySettings {
	t.Helper()
	return apply(t, nil, plan(t, `{"version":1,"keys":[
		{"api_key":"key-of-one","account":"acme","name":"one","limits":{"publish_rate":5},"callbacks":[
			{"event":"SESSION:COMPLETE","url":"https://a.example/x","headers":{"X-Token":{"value":"t1"},"X-Plain":"p"},"payload":{"n":1.0},"policy":{"timeout":"5s","filter":{"data.grade":{"lt":3}}},`+standard+`},
			{"event":"SESSION:COMPLETE","name":"second","url":"https://b.example/","policy":{"auth":{"basic":{"username":"u","password":{"value":"pw"}}}},`+standard+`}]},
		{"api_key":"key-of-two","account":"acme","name":"two"}]}`, nil, false))
}

func TestPlans(t *testing.T) {
	one := func(callbacks string) string {
		return `{"version":1,"keys":[{"api_key":"key-of-one","account":"acme","name":"one","limits":{"publish_rate":5}` + callbacks + `}]}`
	}
	const first = `{"event":"SESSION:COMPLETE","url":"https://a.example/x","headers":{"X-Token":{"keep":true},"X-Plain":"p"},"payload":{"n":1},"policy":{"timeout":"5s","filter":{"data.grade":{"lt":3}}},"secret":{"keep":true}}`
	for name, c := range map[string]struct {
		file  string
		prune bool
		want  []string
	}{
		"nothing differs":         {one(`,"callbacks":[` + first + `]`), false, nil},
		"callbacks are not named": {one(""), true, []string{"remove two"}},
		"no callbacks are wanted": {one(`,"callbacks":[]`), true, []string{"remove two", "remove one default", "remove one second"}},
		"pruned":                  {one(`,"callbacks":[` + first + `]`), true, []string{"remove two", "remove one second"}},
		"a setting of the key":    {strings.Replace(one(""), `"name":"one"`, `"name":"uno","expires_at":"2027-01-01T00:00:00Z"`, 1), false, []string{"change uno expires_at:>2027-01-01T00:00:00Z name:one>uno"}},
		"found by its name":       {`{"version":1,"keys":[{"account":"acme","name":"two","sessions_expire_after":"3d"}]}`, false, []string{"change two sessions_expire_after:7d>3d"}},
		"a new key":               {`{"version":1,"keys":[{"account":"acme","name":"three","live":false}]}`, false, []string{"create three account:>acme live:>false name:>three secret:>[redacted] sessions_expire_after:>7d"}},
		"another secret of a key": {`{"version":1,"keys":[{"api_key":"key-of-two","account":"acme","name":"two","secret":{"value":"12345678901234567890"}}]}`, false, []string{"change two old_secret:>[redacted] old_secret.ends_at:>2026-05-07T07:08:09Z secret:[redacted]>[redacted]"}},
		"another URL":             {one(`,"callbacks":[` + strings.Replace(first, "/x", "/y", 1) + `]`), false, []string{"change one default url:https://a.example/x>https://a.example/y"}},
		"a value of a header":     {one(`,"callbacks":[` + strings.Replace(first, `"X-Token":{"keep":true}`, `"X-Token":{"value":"t2"}`, 1) + `]`), false, []string{"change one default headers.X-Token:[redacted]>[redacted]"}},
		"the default of a policy": {one(`,"callbacks":[` + strings.Replace(first, `"timeout":"5s"`, `"timeout":"5s","concurrency":32`, 1) + `]`), false, nil},
		"a policy":                {one(`,"callbacks":[` + strings.Replace(first, `"timeout":"5s",`, ``, 1) + `]`), false, []string{"change one default policy.timeout:5s>"}},
		"a pause":                 {one(`,"callbacks":[` + strings.Replace(first, `"secret"`, `"paused":true,"secret"`, 1) + `]`), false, []string{"change one default pause:>user"}},
		"a signing secret": {one(`,"callbacks":[` + strings.Replace(first, `"secret":{"keep":true}`, `"secret":{"value":"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`, 1) + `]`), false,
			[]string{"change one default secrets.1:[redacted]>[redacted] secrets.2:>[redacted] secrets.2.expires_at:>2026-05-07T07:08:09Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := stored(t)
			p := plan(t, c.file, before, c.prune)
			if diff := cmp.Diff(c.want, lines(p)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if again := lines(plan(t, c.file, apply(t, before, p), c.prune)); again != nil {
				t.Errorf("the same file changes again: %q", again)
			}
		})
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	key := func(members string) string {
		return `{"version":1,"keys":[{"account":"acme","name":"x"` + members + `}]}`
	}
	callback := func(members string) string { return key(`,"callbacks":[{` + members + `}]`) }
	for text, want := range map[string]string{
		``:                                         "is empty",
		`{"keys":[]}`:                              "version is missing",
		`{"version":2,"keys":[]}`:                  "version must be a whole number from 1 to 1",
		`{"version":1,"keys":{}}`:                  "keys must be an array",
		`{"version":1,"keys":[],"x":1}`:            `Unknown member "x"`,
		`{"version":1,"version":1,"keys":[]}`:      "duplicate",
		`{"version":1,"keys":[{"name":"x"}]}`:      "keys[0]: account is missing",
		key(`,"rate":1`):                           `keys[0]: Unknown member "rate"`,
		key(`,"api_key":"a b"`):                    "keys[0]: api_key must be 8 to 100",
		key(`,"secret":"plain-text-of-a-secret"`):  "keys[0].secret: a secret must not stand in the file",
		key(`,"secret":{"env":"X"}`):               "keys[0].secret: the server reads no variables",
		key(`,"secret":{"value":"short"}`):         "keys[0]: secret must be 20 to 256",
		key(`,"secret":{"keep":true,"value":"x"}`): "keys[0].secret: a secret must be",
		key(`,"secret":{"keep":false}`):            "keys[0].secret: a secret must be",
		key(`,"secret":{"keep":true}`):             "there is no such API key yet",
		key(`,"limits":{"publish_rate":-1}`):       "keys[0]: limits.publish_rate",
		`{"version":1,"keys":[{"account":"a","name":"n"},{"account":"a","name":"n"}]}`:                                         "keys[1]: account and name are those of keys[0]",
		`{"version":1,"keys":[{"account":"a:b"}]}`:                                                                             "keys[0]: account must be",
		`{"version":1,"keys":[{"api_key":"key-of-two","account":"beta"}]}`:                                                     "belongs to another account",
		`{"version":1,"keys":[{"api_key":"key-of-two","account":"acme","live":false}]}`:                                        "of the other kind",
		callback(`"url":"https://a.example/"`):                                                                                 "keys[0].callbacks[0]: event is missing",
		callback(`"event":"SESSION:COMPLETE"`):                                                                                 "keys[0].callbacks[0]: url is missing",
		callback(`"event":"X","url":"https://a.example/"`):                                                                     "keys[0].callbacks[0]: event",
		callback(`"event":"SESSION:COMPLETE","url":"ftp://a.example/"`):                                                        "keys[0].callbacks[0]: ",
		callback(`"event":"SESSION:COMPLETE","url":"https://user:pw@a.example/"`):                                              "keys[0].callbacks[0]: ",
		callback(`"event":"SESSION:COMPLETE","url":"https://a.example/","timeout":"5s"`):                                       `keys[0].callbacks[0]: Unknown member "timeout"`,
		callback(`"event":"SESSION:COMPLETE","url":"https://a.example/","policy":{"timeouts":"5s"}`):                           `keys[0].callbacks[0]: Unknown member "timeouts"`,
		callback(`"event":"SESSION:COMPLETE","url":"https://a.example/","secret":{"keep":true}`):                               "there is no such callback yet",
		callback(`"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"X-A":{"keep":true}}`):                      `keys[0].callbacks[0]: headers.X-A is {"keep": true}, but there is no such callback yet. Give it as {"env": "NAME"} or {"file": "PATH"}.`,
		callback(`"event":"SESSION:COMPLETE","url":"https://a.example/","policy":{"auth":{"bearer":{"token":{"keep":true}}}}`): `policy.auth.bearer.token is {"keep": true}, but there is no such callback yet.`,
		`{"version":1,"keys":[{"api_key":"key-of-one","account":"acme","name":"one","callbacks":[{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"X-New":{"keep":true}}}]}]}`:      `headers.X-New is {"keep": true}, but`,
		callback(`"event":"SESSION:COMPLETE","url":"https://a.example/"},{"event":"SESSION:COMPLETE","url":"https://b.example/"`):                                                                    "keys[0].callbacks[1]: this is the same event and name as keys[0].callbacks[0]",
		`{"version":1,"keys":[{"api_key":"key-of-one","account":"acme","name":"one","callbacks":[{"event":"SESSION:COMPLETE","url":"https://evil.example/","headers":{"X-Token":{"keep":true}}}]}]}`: "url names another receiver",
		`{"version":1,"keys":[{"api_key":"key-of-one","account":"acme","name":"one","callbacks":[{"event":"SESSION:COMPLETE","url":"https://evil.example/","secret":{"keep":true}}]}]}`:              "url names another receiver",
		`{"version":1,"keys":[` + strings.Repeat(" ", settings.MaxFile) + `]}`:                                                                                                                       "At most 1000000 are allowed",
	} {
		f, err := settings.Read([]byte(text))
		if err == nil {
			_, err = f.Plan(stored(t), options(false))
		}
		if err == nil || !strings.Contains(callbackd.Sentence(err), want) {
			t.Errorf("%.200s: %v; want %q", text, err, want)
		}
	}
}

// A revoked key cannot come back, and two keys of one name must be told apart.
func TestKeysThatAreNotFound(t *testing.T) {
	two := apply(t, nil, plan(t, `{"version":1,"keys":[{"api_key":"key-of-a","account":"acme","name":"same"},{"api_key":"key-of-b","account":"acme","name":"same"}]}`, nil, false))
	for text, want := range map[string]string{
		`{"version":1,"keys":[{"account":"acme","name":"same"}]}`: "two API keys",
	} {
		if _, err := read(t, text).Plan(two, options(false)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	revoked := apply(t, two, plan(t, `{"version":1,"keys":[{"api_key":"key-of-a","account":"acme","name":"same"}]}`, two, true))
	if _, err := read(t, `{"version":1,"keys":[{"api_key":"key-of-b","account":"acme","name":"same"}]}`).Plan(revoked, options(false)); err == nil || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("a revoked key is used again: %v", err)
	}
}

// The fingerprint changes with what the plan was made from, and with nothing else.
func TestFingerprints(t *testing.T) {
	const file = `{"version":1,"keys":[{"api_key":"key-of-two","account":"acme","name":"two","limits":{"callbacks":5}}]}`
	before := stored(t)
	of := func(now []callbackd.KeySettings, prune bool) string { return plan(t, file, now, prune).Fingerprint }
	changed := func(text string) []callbackd.KeySettings { return apply(t, before, plan(t, text, before, false)) }
	other := changed(`{"version":1,"keys":[{"api_key":"key-of-one","account":"acme","name":"uno"}]}`)
	same := changed(`{"version":1,"keys":[{"api_key":"key-of-two","account":"acme","name":"two","expires_at":"2027-01-01T00:00:00Z"}]}`)
	secret := changed(`{"version":1,"keys":[{"api_key":"key-of-two","account":"acme","name":"two","secret":{"value":"12345678901234567890"}}]}`)
	if again := of(stored(t), false); of(before, false) != again || of(before, false) != of(other, false) {
		t.Error("the fingerprint changes with an API key that the file does not name")
	}
	for name, now := range map[string][]callbackd.KeySettings{"a setting": same, "a secret": secret} {
		if of(before, false) == of(now, false) {
			t.Errorf("the fingerprint stays when %s has changed", name)
		}
	}
	if of(before, true) == of(other, true) {
		t.Error("the fingerprint of a plan that prunes stays when another API key has changed")
	}
}

// No secret is in a plan or in an export.
func TestNoSecretIsShown(t *testing.T) {
	all := stored(t)
	exported, err := settings.Export(all)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprint(toJSON(t, exported), toJSON(t, plan(t, `{"version":1,"keys":[{"account":"x","callbacks":[{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"X":{"value":"hidden-1"}},"policy":{"auth":{"bearer":{"token":{"value":"hidden-2"}}}},"secret":{"value":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}]}]}`, all, true).Show(true)))
	for _, secret := range []string{"t1", "pw", "whsec_", "made-secret", "hidden-"} {
		if strings.Contains(shown, `"`+secret) {
			t.Errorf("%q is shown in %s", secret, shown)
		}
	}
}

package callbackd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"callbackd"
)

var digest = callbackd.AuditDigest([]byte("a key"), 3)

// notAudited has the fields of settings that no person sets, or that the audit log has in
// another form.
var notAudited = map[string]string{
	"Callback.ID": "the target of the entry", "Callback.Key": "the chain", "Callback.Event": "the subject", "Callback.Name": "the subject", "Callback.Session": "the subject",
	"Callback.Version": "counts changes", "Callback.CreatedAt": "the time of an entry", "Callback.UpdatedAt": "the time of an entry",
	"Callback.DeletedAt": "the action", "Callback.FailingSince": "health", "Callback.ClosedUntil": "health", "Callback.Proven": "health",
	"Callback.ReleasedAt": "the effect of a resume", "Callback.Releasing": "the effect of a resume",
	"Key.ID": "the chain", "Key.CreatedAt": "the time of an entry",
	"OperatorToken.ID": "the subject", "OperatorToken.Hash": "the text never changes", "OperatorToken.CreatedAt": "the time of an entry",
	"OperatorToken.LastUsedAt": "use is no change",
	"Replay.ID":                "the subject", "Replay.Key": "the chain", "Replay.State": "the action", "Replay.CreatedAt": "the time of an entry",
	"Replay.EndedAt": "progress", "Replay.NextDue": "progress", "Replay.Due": "progress", "Replay.Skipped": "progress", "Replay.Created": "progress",
	"Replay.Delivered": "progress", "Replay.Failed": "progress", "Replay.Canceled": "progress",
}

// setField returns a copy of v with another value in a field.
func setField[T any](t *testing.T, v T, field int) T {
	t.Helper()
	f := reflect.ValueOf(&v).Elem().Field(field)
	switch x := f.Addr().Interface().(type) {
	case *[]callbackd.Header:
		*x = []callbackd.Header{{Name: "X", Value: "canary"}}
	case *[]callbackd.SigningSecret:
		*x = []callbackd.SigningSecret{{Value: "canary"}}
	case *callbackd.OldAuth:
		*x = callbackd.OldAuth{Auth: bearer("canary")}
	case *callbackd.Pause:
		x.Reason = callbackd.PausedByUser
	case **callbackd.Filter:
		*x = parsed(t, callbackd.ParseFilter, `{"data.status":{"eq":"COMPLETE"}}`)
	case **callbackd.Fields:
		*x = parsed(t, callbackd.ParseFields, `{"only":["status"]}`)
	case **callbackd.Auth:
		*x = bearer("canary")
	case **callbackd.Cancellation:
		*x = &callbackd.Cancellation{Reason: "why"}
	case *time.Time:
		*x = time.UnixMilli(1_700_000_000_000)
	case *callbackd.ReplayFilter, *callbackd.Policy, *callbackd.KeyLimits: // looked at on their own
	default:
		switch f.Kind() {
		case reflect.String:
			f.SetString("canary")
		case reflect.Bool:
			f.SetBool(!f.Bool())
		case reflect.Int, reflect.Int64:
			f.SetInt(7_000_000_000)
		case reflect.Float64:
			f.SetFloat(7)
		case reflect.Array:
			f.Index(0).SetUint(1)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		default:
			t.Fatalf("field %d of %T is a %s, which this test does not know", field, v, f.Kind())
		}
	}
	return v
}

func parsed[T any](t *testing.T, parse func(string, []byte) (T, error), text string) T {
	t.Helper()
	v, err := parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// checkFields checks that each field of a setting shows in its state, or has a reason.
func checkFields[T any](t *testing.T, prefix string, state func(T) callbackd.AuditState) {
	t.Helper()
	var v T
	typ := reflect.TypeFor[T]()
	for i := range typ.NumField() {
		name := prefix + "." + typ.Field(i).Name
		changed := setField(t, v, i)
		if reflect.DeepEqual(changed, v) {
			continue // a struct that is looked at on its own
		}
		differs := !reflect.DeepEqual(state(v), state(changed))
		if notAudited[name] == "" && !differs {
			t.Errorf("%s does not show in the audit log: add it to AuditState, or give a reason in notAudited", name)
		}
		if notAudited[name] != "" && differs {
			t.Errorf("%s shows in the audit log, although notAudited says %q", name, notAudited[name])
		}
		raw, err := json.Marshal(state(changed))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if isSecret := typ.Field(i).Type == reflect.TypeFor[callbackd.Secret](); isSecret && strings.Contains(string(raw), "canary") {
			t.Errorf("%s is a secret and shows in %s", name, raw)
		}
	}
}

// No erasure changes the audit log, so it has nothing readable of what a callback for one session
// may have of a person. Of other callbacks it is shown.
func TestTheAuditLogHidesWhatNamesAPerson(t *testing.T) {
	const mark = "jane-doe"
	filter, err := callbackd.ParseFilter("filter", []byte(`{"data.name":{"eq":"`+mark+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	fields, err := callbackd.ParseFields("fields", []byte(`{"only":["`+mark+`"]}`))
	if err != nil {
		t.Fatal(err)
	}
	auth := &callbackd.Auth{OAuth2: &callbackd.OAuth2{TokenURL: "https://a.example/" + mark, ClientID: mark, ClientSecret: mark, Scope: mark, Audience: mark}}
	c := callbackd.Callback{URL: "https://a.example/" + mark, Method: "POST", Payload: []byte(`{"name":"` + mark + `"}`), Headers: []callbackd.Header{{Name: "X", Value: mark}},
		Policy: callbackd.Policy{Filter: filter, Fields: fields, OrderGroup: mark, Auth: auth}, OldAuth: callbackd.OldAuth{Auth: auth, EndsAt: time.Unix(1, 0)}}
	shown := func() string {
		_, after, _ := callbackd.AuditChange(nil, c.AuditState(digest), digest)
		return string(after)
	}
	if shown := shown(); strings.Count(shown, mark) < 5 {
		t.Errorf("a callback of the key is shown as %s", shown)
	}
	c.Types = []callbackd.EventType{callbackd.Complete}
	if shown := shown(); strings.Contains(shown, mark) || !strings.Contains(shown, "1970-01-01") {
		t.Errorf("a callback for one session is shown as %s", shown)
	}
}

// A new field of a setting is audited, or it has a reason.
func TestEveryFieldOfASettingIsAudited(t *testing.T) {
	checkFields(t, "Callback", func(c callbackd.Callback) callbackd.AuditState { return c.AuditState(digest) })
	checkFields(t, "Policy", func(p callbackd.Policy) callbackd.AuditState {
		return (&callbackd.Callback{Policy: p}).AuditState(digest)
	})
	checkFields(t, "Key", func(k callbackd.Key) callbackd.AuditState { return k.AuditState(digest) })
	checkFields(t, "KeyLimits", func(l callbackd.KeyLimits) callbackd.AuditState {
		return (&callbackd.Key{Limits: l}).AuditState(digest)
	})
	checkFields(t, "OperatorToken", func(o callbackd.OperatorToken) callbackd.AuditState { return o.AuditState() })
	checkFields(t, "Replay", func(r callbackd.Replay) callbackd.AuditState { return r.AuditState() })
	checkFields(t, "ReplayFilter", func(f callbackd.ReplayFilter) callbackd.AuditState {
		return (&callbackd.Replay{Filter: f}).AuditState()
	})
}

func TestSecretsAreHashesInTheAuditLog(t *testing.T) {
	c := sent()
	c.Headers = []callbackd.Header{{Name: "Authorization", Value: "canary-1"}, {Name: "Authorization", Value: "canary-2"}}
	c.Secrets = []callbackd.SigningSecret{{Value: "canary-3"}}
	c.Policy.Auth = &callbackd.Auth{OAuth2: &callbackd.OAuth2{TokenURL: "https://t.example/", ClientID: "id", ClientSecret: "canary-4"},
		TLS: &callbackd.ClientTLS{Cert: "cert", Key: "canary-5"}}
	c.OldAuth.Auth = &callbackd.Auth{Basic: &callbackd.BasicAuth{Username: "u", Password: "canary-6"}}
	_, after, _ := callbackd.AuditChange(nil, c.AuditState(digest), digest)
	if strings.Contains(string(after), "canary") {
		t.Errorf("a secret is in %s", after)
	}
	for _, want := range []string{`"headers.Authorization":"hmac-sha256:`, `"headers.Authorization.2":`, `"secrets.1":`, `"policy.auth.oauth2.client_secret":`,
		`"policy.auth.tls.key":`, `"old_auth.basic.password":`, `"old_auth.basic.username":"u"`} {
		if !strings.Contains(string(after), want) {
			t.Errorf("%s is not in %s", want, after)
		}
	}
	if digest("x") == callbackd.AuditDigest([]byte("a key"), 4)("x") || digest("x") == callbackd.AuditDigest([]byte("other"), 3)("x") {
		t.Error("a secret has the same hash in another chain or with another key")
	}
}

func TestTheChangeInAnAuditEntry(t *testing.T) {
	big := strings.Repeat("<x>", 300)
	many := callbackd.AuditState{}
	for i := range 100 {
		many[fmt.Sprint("headers.", i)] = digest(fmt.Sprint(i))
	}
	for _, c := range []struct {
		name          string
		before, after callbackd.AuditState
		wantB, wantA  string
		same          bool
	}{
		{"nothing", callbackd.AuditState{"a": 1}, callbackd.AuditState{"a": 1}, "", "", true},
		{"another value", callbackd.AuditState{"a": 1, "b": "<&>"}, callbackd.AuditState{"a": 2, "b": "<&>"}, `{"a":1}`, `{"a":2}`, false},
		{"a member more", callbackd.AuditState{"a": 1}, callbackd.AuditState{"a": 1, "b": "<&>"}, `{}`, `{"b":"<&>"}`, false},
		{"created", nil, callbackd.AuditState{"b": true, "a": "x"}, "", `{"a":"x","b":true}`, false},
		{"removed", callbackd.AuditState{"a": "x"}, nil, `{"a":"x"}`, "", false},
		{"a long value", nil, callbackd.AuditState{"a": big}, "", `{"a":"902 bytes, ` + digest(`"`+big+`"`) + `"}`, false},
	} {
		b, a, changed := callbackd.AuditChange(c.before, c.after, digest)
		if string(b) != c.wantB || string(a) != c.wantA || changed == c.same {
			t.Errorf("%s: before %s, after %s, changed %v; want %s, %s, %v", c.name, b, a, changed, c.wantB, c.wantA, !c.same)
		}
	}
	_, a, _ := callbackd.AuditChange(nil, many, digest)
	if len(a) > callbackd.MaxAuditState || !strings.Contains(string(a), `"members":100`) {
		t.Errorf("a state of 100 members is %s", a)
	}
	other := maps.Clone(many)
	other["headers.0"] = "x"
	_, b, _ := callbackd.AuditChange(nil, other, digest)
	if string(a) == string(b) {
		t.Error("two large states look the same")
	}
}

func TestWhatAChangeOfACallbackIsCalled(t *testing.T) {
	at := time.UnixMilli(1_700_000_100_000).UTC()
	for want, change := range map[callbackd.AuditAction]func(c *callbackd.Callback){
		callbackd.AuditCallbackDeleted: func(c *callbackd.Callback) { c.Delete(at) },
		callbackd.AuditCallbackPaused:  func(c *callbackd.Callback) { c.SetPause(callbackd.Pause{Reason: callbackd.PausedByUser, At: at}) },
		callbackd.AuditCallbackResumed: func(c *callbackd.Callback) { c.SetPause(callbackd.Pause{At: at}) },
		callbackd.AuditSecretRotated:   func(c *callbackd.Callback) { c.RotateSecret("next", at, at) },
		callbackd.AuditAuthRotated:     func(c *callbackd.Callback) { c.RotateAuth(bearer("next"), at.Add(time.Hour), at) },
		callbackd.AuditCallbackReplaced: func(c *callbackd.Callback) {
			n := *c
			n.Policy.Rate = 4
			n.Policy.Auth = bearer("next")
			c.Replace(&n, at)
		},
	} {
		before, after := sent(), sent()
		change(&after)
		if got := callbackd.AuditActionOf(&before, &after); got != want {
			t.Errorf("%s is called %s", want, got)
		}
	}
	moved := sent()
	next := sent()
	next.URL = "https://b.example/"
	moved.Replace(&next, at)
	before := sent()
	if got := callbackd.AuditActionOf(&before, &moved); got != callbackd.AuditCallbackReplaced {
		t.Errorf("another URL is called %s", got)
	}
}

// Each field of an entry, its place and its chain are in the hash.
func TestTheHashOfAnAuditEntry(t *testing.T) {
	e := callbackd.AuditEntry{Key: 3, Number: 7, At: time.UnixMilli(1_700_000_000_000), Action: callbackd.AuditKeyCreated,
		Actor: callbackd.Actor{Kind: callbackd.ActorKey, Name: "n", Address: "a"}, Subject: "s", Target: 4, Before: []byte("{}"), After: []byte("{}")}
	key, before := []byte("a key"), callbackd.AuditHash{1}
	seen := map[callbackd.AuditHash]string{e.Link(key, before): "the entry"}
	add := func(name string, h callbackd.AuditHash) {
		if seen[h] != "" {
			t.Errorf("%s has the hash of %s", name, seen[h])
		}
		seen[h] = name
	}
	add("another key", e.Link([]byte("other"), before))
	add("another place", e.Link(key, callbackd.AuditHash{2}))
	for name, change := range map[string]func(e *callbackd.AuditEntry){
		"chain": func(e *callbackd.AuditEntry) { e.Key++ }, "number": func(e *callbackd.AuditEntry) { e.Number++ },
		"time": func(e *callbackd.AuditEntry) { e.At = e.At.Add(time.Millisecond) }, "action": func(e *callbackd.AuditEntry) { e.Action = callbackd.AuditKeyRevoked },
		"kind": func(e *callbackd.AuditEntry) { e.Actor.Kind = callbackd.ActorToken }, "name": func(e *callbackd.AuditEntry) { e.Actor.Name = "m" },
		"address": func(e *callbackd.AuditEntry) { e.Actor.Address = "b" }, "moved text": func(e *callbackd.AuditEntry) { e.Actor.Name, e.Actor.Address = "na", "" },
		"subject": func(e *callbackd.AuditEntry) { e.Subject = "t" }, "target": func(e *callbackd.AuditEntry) { e.Target++ },
		"before": func(e *callbackd.AuditEntry) { e.Before = nil }, "after": func(e *callbackd.AuditEntry) { e.After = []byte("[]") },
	} {
		changed := e
		change(&changed)
		add(name, changed.Link(key, before))
	}
}

package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/apikey"
	"callbackd/internal/signature"
	"callbackd/wire"
)

// operator makes calls with an operator token.
type operator struct {
	*server
	token callbackd.OperatorToken
	text  callbackd.Secret
}

func (s *server) operator(name string, role callbackd.TokenRole) *operator {
	s.t.Helper()
	token, text, err := apikey.NewToken(name, role, time.Hour, time.Now())
	if err == nil {
		err = s.store.CreateToken(s.t.Context(), token)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.bearing(token, text)
}

// bears replaces a call's signature by a token.
func bears(text callbackd.Secret) func(*http.Request) {
	return func(r *http.Request) {
		r.Header = http.Header{}
		if text != "" {
			r.Header.Set("Authorization", "Bearer "+text.Reveal())
		}
	}
}

// bearing is the same server, called with a token.
func (s *server) bearing(token callbackd.OperatorToken, text callbackd.Secret) *operator {
	other := *s
	other.token = func() callbackd.Secret { return text }
	return &operator{&other, token, text}
}

func TestOperatorTokensAreMadeAndRevoked(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		o := s.operator("terraform", callbackd.RoleFull)
		made := decode[wire.OperatorToken](o.call("POST", "/v1/admin/tokens", `{"name":"grafana","role":"read","expires_after":"30d"}`).ok(201))
		if made.Name != "grafana" || made.Role != "read" || made.State != "active" || made.ExpiresAt.Sub(made.CreatedAt) != 30*24*time.Hour {
			t.Errorf("the token is %+v", made)
		}
		reader := s.bearing(callbackd.OperatorToken{}, callbackd.Secret(made.Token))
		list := decode[wire.OperatorTokenList](reader.call("GET", "/v1/admin/tokens", "").ok(200))
		if len(list.Data) != 2 || list.Data[1].ID != made.ID || list.Data[1].Token != "" {
			t.Errorf("the list is %+v", list)
		}
		reader.call("POST", "/v1/admin/tokens", `{"name":"x","role":"full"}`).says(403, "grafana may read")
		reader.call("DELETE", "/v1/admin/tokens/"+o.token.ID, "").says(403, "grafana may read")
		o.call("POST", "/v1/admin/tokens", `{"name":"grafana","role":"read"}`).says(409, "grafana is in force already")

		gone := decode[wire.OperatorToken](o.call("DELETE", "/v1/admin/tokens/"+made.ID, "").ok(200))
		if gone.State != "revoked" || gone.RevokedAt == nil {
			t.Errorf("the revoked token is %+v", gone)
		}
		reader.call("GET", "/v1/admin/tokens", "").says(401, "needs an operator token")
		o.call("DELETE", "/v1/admin/tokens/none", "").says(404, "no operator token none")
	})
}

func TestNewOperatorTokensAreChecked(t *testing.T) {
	o := start(t).operator("o", callbackd.RoleFull)
	for body, want := range map[string]string{
		`{"name":""}`:                                        "name is missing",
		`{"role":"read"}`:                                    "name is missing",
		`{"name":"a"}`:                                       "role is missing",
		`{"name":"a","role":"root"}`:                         `role "root" is not supported`,
		`{"name":"a","role":"read","x":1}`:                   `Unknown member "x"`,
		`{"name":"a\u202eb","role":"read"}`:                  "printable text",
		`{"name":"a","role":"read","expires_after":"1000d"}`: "expires_after must be a duration",
	} {
		o.call("POST", "/v1/admin/tokens", body).says(400, want)
	}
}

// A repeat of the call that made a token gets the same token.
func TestAnOperatorTokenIsMadeOnce(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		o := start(t, on).operator("o", callbackd.RoleFull)
		once := func(r *http.Request) { r.Header.Set("Idempotency-Key", "k") }
		first := o.call("POST", "/v1/admin/tokens", `{"name":"a","role":"read"}`, once).ok(201)
		again := o.call("POST", "/v1/admin/tokens", `{"name":"a","role":"read"}`, once).ok(201)
		equal(t, "the repeated answer", again.body, first.body)
		equal(t, "its mark", again.header.Get("Idempotency-Replayed"), "true")
		revoke := func() reply {
			return o.call("DELETE", "/v1/admin/tokens/"+decode[wire.OperatorToken](first).ID, "", once).ok(200)
		}
		equal(t, "the repeated revocation", revoke().body, revoke().body)
	})
}

// Nothing but a token in force opens the management API, and an API key never does.
func TestOnlyOperatorTokensOpenTheManagementAPI(t *testing.T) {
	s := start(t)
	o := s.operator("o", callbackd.RoleFull)
	revoked := s.operator("revoked", callbackd.RoleFull)
	if _, err := s.store.RevokeToken(t.Context(), revoked.token.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	expired, expiredText, err := apikey.NewToken("expired", callbackd.RoleFull, time.Minute, time.Now().Add(-time.Hour))
	if err == nil {
		err = s.store.CreateToken(t.Context(), expired)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*http.Request){
		"a signature": func(r *http.Request) {
			signature.SetHeaders(r.Header, s.key.Account, s.key.APIKey, s.key.Secret.Reveal(), time.Now())
			r.Header.Del("Authorization")
		},
		"nothing":           bears(""),
		"a revoked token":   bears(revoked.text),
		"an expired token":  bears(expiredText),
		"another secret":    bears(o.text + "x"),
		"an unknown token":  bears(callbackd.OperatorTokenText("abcdefghijkl", "SECRET")),
		"the API secret":    bears(s.key.Secret),
		"the token as text": func(r *http.Request) { r.Header.Set("Authorization", o.text.Reveal()) },
	} {
		r := s.call("GET", "/v1/admin/tokens", "", change)
		r.says(401, "needs an operator token")
		if r.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: the answer does not ask for a token", name)
		}
	}
	s.call("GET", "/v1/callbacks", "", bears(o.text)).says(401, "API-Key is missing")
}

// Wrong tokens are limited for each address, and nobody with the right one is locked out.
func TestWrongOperatorTokensAreLimited(t *testing.T) {
	s := start(t)
	o := s.operator("o", callbackd.RoleFull)
	limited := 0
	for i := range 20 {
		wrong := callbackd.OperatorTokenText(o.token.ID, fmt.Sprint("guess", i))
		if r := s.call("GET", "/v1/admin/tokens", "", bears(wrong)); r.status == 429 {
			limited++
			if r.header.Get("Retry-After") == "" {
				t.Error("a limited call is not told when to come again")
			}
		}
	}
	if limited < 8 {
		t.Errorf("%d of 20 wrong tokens were limited", limited)
	}
	o.call("GET", "/v1/admin/tokens", "").ok(200)
}

// The use of a token is written in batches, and not with each call.
func TestTheUseOfOperatorTokensIsStored(t *testing.T) {
	s := start(t)
	o := s.operator("o", callbackd.RoleRead)
	o.call("GET", "/v1/admin/tokens", "").ok(200)
	stored := func() time.Time {
		t.Helper()
		got, err := s.store.Token(t.Context(), o.token.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.LastUsedAt
	}
	if at := stored(); !at.IsZero() {
		t.Errorf("the use at %s was written with the call", at)
	}
	if err := s.api.StoreTokenUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	used := stored()
	if since := time.Since(used); since < 0 || since > patience {
		t.Errorf("the token was used at %s", used)
	}
	o.call("GET", "/v1/admin/tokens", "").ok(200)
	if err := s.api.StoreTokenUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "the time of a use soon after another", stored(), used)
}

// The whole life of an API key, made and changed by an operator token.
func TestKeysByTheManagementAPI(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		made := decode[wire.Key](s.call("POST", "/v1/admin/keys", `{"account":"beta","name":"warehouse","live":false,"sessions_expire_after":"3d","capture_url":"https://{account}.capture.example/{session_key}"}`).ok(201))
		if made.Account != "beta" || made.Name != "warehouse" || made.Live || made.State != "active" || made.SessionsExpireAfter != "3d" || made.Secret == "" || made.CaptureURL == nil {
			t.Errorf("the key is %+v", made)
		}
		holder := s.as(callbackd.Key{Account: "beta", APIKey: made.APIKey, Secret: callbackd.Secret(made.Secret)})
		holder.call("GET", "/v1/callbacks", "").ok(200)
		path := "/v1/admin/keys/" + made.APIKey
		if got := s.call("GET", path, "").ok(200); strings.Contains(got.body, made.Secret) {
			t.Errorf("the secret is shown again: %s", got.body)
		}

		past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
		changed := decode[wire.Key](s.call("PUT", path, `{"name":"renamed","expires_at":"`+past+`"}`).ok(200))
		if changed.Name != "renamed" || changed.State != "expired" || changed.SessionsExpireAfter != "7d" || changed.CaptureURL != nil {
			t.Errorf("the changed key is %+v", changed)
		}
		holder.call("GET", "/v1/callbacks", "").ok(401)
		s.call("PUT", path, `{"name":"renamed"}`).ok(200)
		holder.call("GET", "/v1/callbacks", "").ok(200)

		rotated := decode[wire.Key](s.call("POST", path+"/rotate", `{"keep":"0s"}`).ok(200))
		holder.call("GET", "/v1/callbacks", "").ok(401)
		holder.key.Secret = callbackd.Secret(rotated.Secret)
		holder.call("GET", "/v1/callbacks", "").ok(200)

		revoked := decode[wire.Key](s.call("POST", path+"/revoke", "").ok(200))
		if revoked.State != "revoked" || revoked.RevokedAt == nil {
			t.Errorf("the revoked key is %+v", revoked)
		}
		holder.call("GET", "/v1/callbacks", "").ok(401)
		s.call("POST", path+"/rotate", "").says(409, "is revoked")
		s.call("GET", "/v1/admin/keys/none", "").says(404, "There is no API key none")
		equal(t, "the accounts", decode[wire.AccountList](s.call("GET", "/v1/admin/accounts", "").ok(200)).Data,
			[]wire.Account{{Account: "acme", Keys: 1, Active: 1}, {Account: "beta", Keys: 1}})
	})
}

func TestKeysAreListedInPages(t *testing.T) {
	s := start(t)
	for range 2 {
		s.newKey("beta", true)
	}
	var got []string
	for at := "/v1/admin/keys?limit=1&account=beta"; ; {
		page := decode[wire.KeyList](s.call("GET", at, "").ok(200))
		for _, k := range page.Data {
			got = append(got, k.Account)
		}
		if page.Next == nil {
			break
		}
		at = "/v1/admin/keys?limit=1&account=beta&cursor=" + *page.Next
	}
	equal(t, "the accounts of the keys", got, []string{"beta", "beta"})
	s.call("GET", "/v1/admin/keys?cursor=none", "").says(400, "Invalid cursor")
	equal(t, "the revoked keys", len(decode[wire.KeyList](s.call("GET", "/v1/admin/keys?state=revoked", "").ok(200)).Data), 0)
}

func TestNewKeysAreChecked(t *testing.T) {
	s := start(t)
	for body, want := range map[string]string{
		`{}`:                                  "account is missing",
		`{"account":"a:b"}`:                   "account must be 1 to 64 printable",
		`{"account":"a","secret":"x"}`:        `Unknown member "secret"`,
		`{"account":"a","name":"x\u202ey"}`:   "name must be printable text",
		`{"account":"a","expires_at":"soon"}`: "expires_at must be a time",
		`{"account":"a!b","capture_url":"https://{account}.x.example/{session_key}"}`: "has {account} in its host name",
		`{"account":"a","capture_url":"x"}`:                                           "capture_url",
	} {
		s.call("POST", "/v1/admin/keys", body).says(400, want)
	}
}

// Lists of the management API have the objects of all keys, each with its key, or those
// of one key.
func TestListsOverAllKeys(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		other := s.as(s.newKey("beta", false))
		for _, holder := range []*server{s, other} {
			recv := listen(t, nil)
			holder.register("SESSION:COMPLETE", recv.url, "")
			holder.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S-1"}`).ok(202)
			recv.next()
			holder.call("POST", "/v1/sessions", `{"client_id":"c"}`)
			holder.call("POST", "/v1/replays", `{"states":["failed"]}`)
		}
		s.until("the deliveries", func() bool {
			return len(decode[wire.DeliveryList](s.call("GET", "/v1/admin/deliveries?state=delivered", "").ok(200)).Data) == 2
		})
		s.book.Flush(t.Context())
		type row struct {
			APIKey string `json:"api_key"`
			ID     string `json:"id"`
		}
		keysIn := func(path string) map[string]int {
			got := map[string]int{}
			for _, r := range decode[struct{ Data []row }](s.call("GET", path, "").ok(200)).Data {
				got[r.APIKey]++
			}
			return got
		}
		for _, list := range []string{"callbacks", "sessions", "events", "deliveries", "logs"} {
			all := keysIn("/v1/admin/" + list)
			if len(all) != 2 || all[s.key.APIKey] == 0 || all[other.key.APIKey] == 0 {
				t.Errorf("%s of all keys are of %v", list, all)
			}
			one := keysIn("/v1/admin/" + list + "?key=" + other.key.APIKey)
			if len(one) != 1 || one[other.key.APIKey] != all[other.key.APIKey] {
				t.Errorf("%s of one key are of %v", list, one)
			}
			s.call("GET", "/v1/admin/"+list+"?key=none", "").says(404, "There is no API key none")
		}
		equal(t, "events that were withheld", len(keysIn("/v1/admin/events?withheld=true")), 0)
		d := decode[wire.DeliveryList](s.call("GET", "/v1/admin/deliveries?key="+other.key.APIKey, "").ok(200)).Data[0]
		equal(t, "the key of the delivery", decode[wire.Delivery](s.call("GET", "/v1/admin/deliveries/"+d.ID, "").ok(200)).APIKey, other.key.APIKey)
		equal(t, "the key of the event", decode[wire.Event](s.call("GET", "/v1/admin/events/"+d.EventID, "").ok(200)).APIKey, other.key.APIKey)
		of := "/v1/admin/keys/" + other.key.APIKey
		s.call("GET", of+"/deliveries/"+d.ID+"/explain", "").ok(200)
		s.call("GET", of+"/events/"+d.EventID+"/explain", "").ok(200)
		s.call("GET", "/v1/admin/keys/"+s.key.APIKey+"/deliveries/"+d.ID+"/explain", "").ok(404)
		session := decode[wire.SessionList](s.call("GET", "/v1/admin/sessions?key="+other.key.APIKey, "").ok(200)).Data[0]
		s.call("GET", of+"/sessions/"+session.SessionKey, "").ok(200)
		stats := decode[wire.StatsList](s.call("GET", "/v1/admin/stats", "").ok(200))
		var delivered int64
		for _, b := range stats.Data {
			delivered += b.Delivered
		}
		equal(t, "the counted deliveries", delivered, int64(2))
		s.call("GET", "/v1/admin/stats?since=2020-01-01T00:00:00Z", "").says(400, "at most 10080 intervals")
	})
}

// Jobs and pauses for one key, by an operator token.
func TestJobsByTheManagementAPI(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	of := "/v1/admin/keys/" + s.key.APIKey
	paused := decode[wire.Policy](s.call("POST", of+"/callbacks/SESSION:COMPLETE/pause", "").ok(200))
	equal(t, "whether the callback is paused", paused.Paused, true)
	ev := decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S-1"}`).ok(202))
	counted := decode[wire.ReplayCount](s.call("POST", of+"/deliveries/cancel", `{"event":"SESSION:COMPLETE","dry_run":true}`).ok(200))
	equal(t, "the pending deliveries", counted.Total, int64(1))
	job := decode[wire.Replay](s.call("POST", of+"/deliveries/cancel", `{"event":"SESSION:COMPLETE","reason":"wrong data"}`).ok(202))
	equal(t, "who cancels", []string{job.APIKey, job.By, job.Reason}, []string{s.key.APIKey, callbackd.ByOperator, "wrong data"})
	s.until("the cancellation", func() bool {
		return decode[wire.Replay](s.call("GET", "/v1/admin/replays/"+job.ID, "").ok(200)).Canceled == 1
	})
	s.call("POST", of+"/callbacks/SESSION:COMPLETE/resume", "").ok(200)
	replay := decode[wire.Replay](s.call("POST", of+"/replays", `{"states":["canceled"]}`).ok(202))
	recv.next()
	s.call("POST", of+"/replays/"+replay.ID+"/pause", "")
	s.call("GET", "/v1/admin/replays?key="+s.key.APIKey, "").ok(200)
	s.call("GET", of+"/callbacks/SESSION:COMPLETE/policy", "").ok(200)
	s.call("GET", of+"/callbacks/SESSION:NOTE_INSERT/policy", "").ok(404)
	s.call("POST", "/v1/admin/keys/none/replays", "{}").says(404, "There is no API key none")
	_ = ev
}

func TestSettingsAndNodesAreShown(t *testing.T) {
	shown := []wire.Setting{{Name: "listen", Value: "127.0.0.1:8080", Source: "default"}}
	node := wire.Node{Name: "n", StartedAt: time.Unix(1_700_000_000, 0).UTC(), Shards: 4096}
	s := start(t, func(c *setup) {
		c.api.About = api.About{Settings: shown, Nodes: func(context.Context) ([]wire.Node, error) { return []wire.Node{node}, nil }}
	})
	equal(t, "the settings", decode[wire.SettingList](s.call("GET", "/v1/admin/settings", "").ok(200)).Data, shown)
	equal(t, "the nodes", decode[wire.NodeList](s.call("GET", "/v1/admin/nodes", "").ok(200)).Data, []wire.Node{node})
}

package callbackd_test

import (
	"testing"
	"time"

	"callbackd"
)

func TestOperatorTokenStates(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	text := callbackd.OperatorTokenText("abcdefghij23", "SECRET")
	for _, c := range []struct {
		name             string
		expires, revoked time.Time
		given            callbackd.Secret
		accepted         bool
		state            string
	}{
		{"in force", now.Add(1), time.Time{}, text, true, "active"},
		{"at its end", now, time.Time{}, text, false, "expired"},
		{"revoked", now.Add(1), now.Add(-1), text, false, "revoked"},
		{"revoked, then expired", now, now.Add(-1), text, false, "revoked"},
		{"another text", now.Add(1), time.Time{}, text + "x", false, "active"},
		{"no text", now.Add(1), time.Time{}, "", false, "active"},
	} {
		tok := callbackd.OperatorToken{Hash: callbackd.HashOfToken(text), ExpiresAt: c.expires, RevokedAt: c.revoked}
		if got := tok.Accepts(c.given, now); got != c.accepted {
			t.Errorf("%s: accepted is %v", c.name, got)
		}
		if got := tok.State(now); got != c.state {
			t.Errorf("%s: the state is %s, want %s", c.name, got, c.state)
		}
	}
}

func TestParseOperatorToken(t *testing.T) {
	for text, want := range map[callbackd.Secret]string{
		callbackd.OperatorTokenText("abcdefghij23", "SECRET"): "abcdefghij23",
		"cbop_abcdefghij23_S_T":                               "abcdefghij23",
		"":                                                    "",
		"cbop_":                                               "",
		"cbop_abcdefghij23":                                   "",
		"cbop_abcdefghij23_":                                  "",
		"cbop_abcdefghij2_SECRET":                             "",
		"cbop_abcdefghij2\x00_SECRET":                         "",
		"cbop_ABCDEFGHIJ23_SECRET":                            "",
		"xbop_abcdefghij23_SECRET":                            "",
	} {
		id, ok := callbackd.ParseOperatorToken(text)
		if ok != (want != "") || ok && id != want {
			t.Errorf("%q: %q, %v", text.Reveal(), id, ok)
		}
	}
}

func TestFaultsOfOperatorTokens(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	sound := callbackd.OperatorToken{Hash: [32]byte{1}, Name: "ci", Role: callbackd.RoleFull, CreatedAt: now, ExpiresAt: now.Add(1)}
	for want, change := range map[string]func(*callbackd.OperatorToken){
		"":                              func(*callbackd.OperatorToken) {},
		"has no hash":                   func(t *callbackd.OperatorToken) { t.Hash = [32]byte{} },
		"has no name":                   func(t *callbackd.OperatorToken) { t.Name = "" },
		"has the unknown role admin":    func(t *callbackd.OperatorToken) { t.Role = "admin" },
		"expires before it was created": func(t *callbackd.OperatorToken) { t.ExpiresAt = now },
	} {
		tok := sound
		change(&tok)
		if got := tok.Fault(); got != want {
			t.Errorf("the fault is %q, want %q", got, want)
		}
	}
}

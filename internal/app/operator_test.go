package app

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"callbackd/internal/console"
	"callbackd/internal/obs"
	"callbackd/internal/store"
	"callbackd/wire"
)

// logLevel sets the log level of a server, and returns the status of the answer.
func (s *served) logLevel(level, authorization string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "PUT", s.app.URL()+LogLevelPath, strings.NewReader(level))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// serveOperator starts a server whose log level can be changed.
func serveOperator(t *testing.T) (*served, *slog.LevelVar) {
	var level slog.LevelVar
	s := serve(t, func(c *Config) {
		c.LogLevel, c.Recent = &level, new(obs.Recent)
		c.Log = c.Recent.Keep(c.Log)
	})
	return s, &level
}

// Only the operator changes what is logged: with the token, or with a token that a command
// has put into the store, which is good once. Being on this machine is not enough.
func TestOnlyTheOperatorChangesTheLogLevel(t *testing.T) {
	s, level := serveOperator(t)
	once, login := console.NewToken(time.Now())
	old, expired := console.NewToken(time.Now().Add(-time.Hour))
	cookie, session := console.NewToken(time.Now())
	session.Link = false // a browser that is signed in
	for _, l := range []store.Login{login, expired, session} {
		if err := s.app.store.CreateLogin(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []string{"", "Bearer ", "Bearer wrong", "Basic " + operatorToken} {
		if got := s.logLevel(`{"level":"debug"}`, l); got != 401 {
			t.Errorf("%q: %d, want 401", l, got)
		}
	}
	if level.Level() != slog.LevelInfo {
		t.Fatalf("the level is %s", level.Level())
	}
	for _, v := range []struct {
		body, authorization string
		status              int
		level               slog.Level
	}{
		{`{"level":"debug"}`, "Bearer " + operatorToken, 200, slog.LevelDebug},
		{`{"level":"loud"}`, "Bearer " + operatorToken, 400, slog.LevelDebug},
		{`{"levle":"info"}`, "Bearer " + operatorToken, 400, slog.LevelDebug},
		{``, "Bearer " + operatorToken, 400, slog.LevelDebug},
		{`{"level":"error"}`, "Bearer " + once, 200, slog.LevelError},
		{`{"level":"info"}`, "Bearer " + once, 401, slog.LevelError},
		{`{"level":"info"}`, "bearer " + operatorToken, 200, slog.LevelInfo},
	} {
		if got := s.logLevel(v.body, v.authorization); got != v.status || level.Level() != v.level {
			t.Errorf("%s with %q: %d and level %s, want %d and %s", v.body, v.authorization, got, level.Level(), v.status, v.level)
		}
	}
	if n := strings.Count(s.log.String(), "the log level was changed until the next start"); n != 3 {
		t.Errorf("%d changes are in the log, want 3:\n%s", n, s.log.String())
	}
	for name, token := range map[string]string{"an expired token": old, "a browser's login": cookie} {
		if got := s.logLevel(`{"level":"debug"}`, "Bearer "+token); got != 401 {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// The status is for this machine and the operator, and says what the server is like.
func TestStatus(t *testing.T) {
	s, level := serveOperator(t)
	if got := s.ask("GET", StatusPath, nil, "X-Forwarded-For: 192.0.2.1").StatusCode; got != 401 {
		t.Errorf("to somebody behind a proxy: %d", got)
	}
	s.app.log.Error("it broke", "error", "first")
	s.app.log.Error("it broke", "error", "first")
	s.app.log.Info("nothing")
	level.Set(slog.LevelError)
	s.app.log.Warn("left out of the log")
	a := s.ask("GET", StatusPath, nil, "X-Forwarded-For: 192.0.2.1", "Authorization: Bearer "+operatorToken)
	var got wire.Status
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	if !got.Ready || got.Store != "sqlite" || got.Version != Version || got.LogLevel != "error" || got.Pending == nil || *got.Pending != 0 || len(got.Nodes) != 1 || !got.Nodes[0].Self {
		t.Errorf("%s", a.body)
	}
	if len(got.Errors) != 2 || got.Errors[0].Message != "left out of the log" || got.Errors[1].Count != 2 || got.Errors[1].Error != "first" {
		t.Errorf("errors: %+v", got.Errors)
	}
	if got := s.ask("GET", StatusPath+"?x=1", nil).StatusCode; got != 400 {
		t.Errorf("with an unknown parameter: %d", got)
	}
}

package app

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/internal/obs"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
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
		{`{"level":"info","level":"error"}`, "Bearer " + operatorToken, 400, slog.LevelDebug},
		{`{"level":"info"} {}`, "Bearer " + operatorToken, 400, slog.LevelDebug},
		{`[5]`, "Bearer " + operatorToken, 400, slog.LevelDebug},
		{"\ufeff" + `{"level":"debug"}`, "Bearer " + operatorToken, 200, slog.LevelDebug},
		{`{"level":"error"}`, "Bearer " + once, 200, slog.LevelError},
		{`{"level":"info"}`, "Bearer " + once, 401, slog.LevelError},
		{`{"level":"info"}`, "bearer " + operatorToken, 200, slog.LevelInfo},
	} {
		if got := s.logLevel(v.body, v.authorization); got != v.status || level.Level() != v.level {
			t.Errorf("%s with %q: %d and level %s, want %d and %s", v.body, v.authorization, got, level.Level(), v.status, v.level)
		}
	}
	if n := strings.Count(s.log.String(), "the log level was changed until the next start"); n != 4 {
		t.Errorf("%d changes are in the log, want 4:\n%s", n, s.log.String())
	}
	var changes []string
	for _, e := range slices.Backward(s.levelChanges()) {
		changes = append(changes, string(e.Before)+string(e.After)+string(e.Actor.Kind)+" "+e.Actor.Address+" "+e.Subject)
	}
	if want := []string{`{"log_level":"info"}{"log_level":"debug"}`, `{"log_level":"debug"}{"log_level":"error"}`, `{"log_level":"error"}{"log_level":"info"}`}; len(changes) != 3 ||
		changes[0] != want[0]+"operator 127.0.0.1 "+hostname() || !strings.HasPrefix(changes[1], want[1]) || !strings.HasPrefix(changes[2], want[2]) {
		t.Errorf("the audit log has %q", changes)
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

// A node on PostgreSQL says which nodes there are.
func TestStatusOnPostgreSQL(t *testing.T) {
	s := serve(t, func(c *Config) {
		c.StoreConfig = StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	})
	var got wire.Status
	a := s.ask("GET", StatusPath, nil)
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	if !got.Ready || got.Store != "postgresql" || got.Pending == nil || len(got.Nodes) != 1 || !got.Nodes[0].Self || got.Nodes[0].Address != s.app.URL() || got.Nodes[0].Name != hostname() {
		t.Errorf("%s", a.body)
	}
}

// away is a store whose database does not answer.
type away struct{ store.Store }

var errAway = callbackd.Errorf(callbackd.KindUnavailable, "the database is away; try again")

func (away) Ready(context.Context) error { return errAway }
func (away) Backlogs(context.Context, time.Time) (callbackd.Backlogs, error) {
	return callbackd.Backlogs{}, errAway
}
func (away) PendingCallbacks(context.Context) ([]callbackd.PendingCallback, error) {
	return nil, errAway
}
func (away) Note(context.Context, callbackd.AuditAction, string, callbackd.AuditState, callbackd.AuditState) error {
	return errAway
}
func (away) TakeLogin(context.Context, [32]byte) (*store.Login, error) {
	return nil, errAway
}

// While the store does not answer, the status says so, and nobody is taken for the operator
// by a one-time token or refused for it.
func TestStatusWithoutTheStore(t *testing.T) {
	s, level := serveOperator(t)
	a := &App{log: s.app.log, started: s.app.started, store: away{s.app.store}, engine: s.app.engine}
	o := a.operator(Config{OperatorToken: operatorToken, LogLevel: level})
	ask := func(method, path, body, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		o.ServeHTTP(w, r)
		return w
	}
	var got wire.Status
	w := ask("GET", StatusPath, "", operatorToken)
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if got.Ready || !strings.Contains(got.Reason, "database is away") || got.Pending != nil || len(got.Nodes) != 0 {
		t.Errorf("%s", w.Body)
	}
	w = ask("PUT", LogLevelPath, `{"level":"debug"}`, "a one-time token")
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "database is away") || level.Level() != slog.LevelInfo {
		t.Errorf("a one-time token: %d %s, level %s", w.Code, w.Body, level.Level())
	}
	if w = ask("PUT", LogLevelPath, `{"level":"debug"}`, operatorToken); w.Code != 200 || level.Level() != slog.LevelDebug {
		t.Errorf("the operator token needs no store: %d %s", w.Code, w.Body)
	}
	// The entry is written when the store is back, by the actor of the change.
	if _, err := a.late.step(t.Context()); err == nil || len(s.levelChanges()) != 0 {
		t.Errorf("without the store: %v, %v", err, s.levelChanges())
	}
	a.store = s.app.store
	if _, err := a.late.step(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := a.late.step(t.Context())
	if got := s.levelChanges(); err != nil || len(got) != 1 || got[0].Actor.Kind != callbackd.ActorOperator || string(got[0].After) != `{"log_level":"debug"}` {
		t.Errorf("%v, %+v", err, got)
	}
}

// levelChanges returns the audit entries about the log level, newest first.
func (s *served) levelChanges() []callbackd.AuditEntry {
	s.t.Helper()
	page, err := s.app.store.ListAudit(s.t.Context(), store.AuditQuery{Action: callbackd.AuditLogLevelChanged, Limit: store.MaxPage})
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Entries
}

// What waits for the store is bounded.
func TestLateAuditEntriesAreBounded(t *testing.T) {
	s, _ := serveOperator(t)
	a, written := &App{log: s.app.log}, 0
	for range maxLateAudits + 5 {
		a.audit(t.Context(), func(context.Context) error { return errAway })
	}
	for i := range a.late.entries {
		a.late.entries[i] = func(context.Context) error { written++; return nil }
	}
	if _, err := a.late.step(t.Context()); err != nil || written != maxLateAudits || !strings.Contains(s.log.String(), "too many wait for the store") {
		t.Errorf("%v, %d entries, want %d", err, written, maxLateAudits)
	}
}

package api_test

import (
	"context"
	"crypto/rand"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/egress"
	"callbackd/internal/engine"
	"callbackd/internal/obs"
	"callbackd/internal/replays"
	"callbackd/internal/sender"
	"callbackd/internal/signature"
	"callbackd/internal/stats"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/internal/store/sqlite"

	"github.com/google/go-cmp/cmp"
)

// patience bounds every wait of a test; nothing waits that long when all is
// well.
const patience = time.Minute

const agentVersion = "9.8.7"

var allOnPostgres = flag.Bool("postgres", false, "run every test on PostgreSQL, not only those of onBothStores")

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // parallel tests wait for PostgreSQL more than for a processor
	pgtest.Main(m, removeEmptyStore)
}

// server is the whole product below the command line: API, store, engine,
// sender, on an egress policy that allows loopback.
type server struct {
	t      *testing.T
	url    string
	store  store.Store
	engine *engine.Engine
	api    *api.API
	key    callbackd.Key
	done   *watcher
	book   *stats.Recorder
	loose  bool // see loosely
	// stored returns all that the database has.
	stored func() []byte
	// token makes a full operator token, once; the calls of the management API have it.
	token func() callbackd.Secret
}

// setup is what a test may want otherwise.
type setup struct {
	api      api.Options
	allow    []string
	live     bool
	postgres bool
	wrap     func(store.Store) store.Store // what the API sees; nil: the store itself
	http     func(*http.Server)
	stored   func() []byte // is set by open
}

// onBothStores runs a test whose answers come from the store on each store, side
// by side: on PostgreSQL a test mostly waits. on is given to start.
func onBothStores(t *testing.T, test func(t *testing.T, on func(*setup))) {
	t.Parallel()
	for name, on := range map[string]func(*setup){
		"sqlite":   func(*setup) {},
		"postgres": func(c *setup) { c.postgres = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, on)
		})
	}
}

// dispatcher is the dispatcher of a process that has the store to itself.
type dispatcher struct {
	*engine.Engine
	runner *replays.Runner
}

func (d dispatcher) ReplaysChanged() { d.runner.Wake() }

// open opens an empty store.
func (c *setup) open(t *testing.T, committed func(commands int)) store.Store {
	t.Helper()
	var s store.Store
	var err error
	if c.postgres {
		url := stock.URL(t)
		c.stored = func() []byte { return pgtest.Contents(t, url) }
		s, err = openPostgres(t.Context(), url, store.Hooks{Committed: committed})
	} else {
		dir := emptyStore(t)
		c.stored = func() []byte { return contents(t, dir) }
		s, err = sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Hooks: store.Hooks{Committed: committed}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// firstStore makes an empty SQLite store. Its migrations take longer than most
// tests do, so that every test gets a copy.
var firstStore = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "callbackd-api-"); err != nil {
		return "", err
	}
	s, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		return dir, err
	}
	return dir, s.Close()
})

// stock has PostgreSQL databases with an empty store.
var stock = pgtest.Stock{Fill: func(ctx context.Context, url string) error {
	s, err := openPostgres(ctx, url, store.Hooks{})
	if err != nil {
		return err
	}
	return s.Close()
}}

// openPostgres opens a database of stock. All of them have one keyset.
func openPostgres(ctx context.Context, url string, hooks store.Hooks) (store.Store, error) {
	dir, err := firstStore()
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Options{URL: url, KeysetFile: filepath.Join(dir, sqlite.KeysetFile), Hooks: hooks})
}

// emptyStore returns a data directory of the test's own with an empty store.
func emptyStore(t *testing.T) string {
	t.Helper()
	first, err := firstStore()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func removeEmptyStore() {
	dir, _ := firstStore()
	os.RemoveAll(dir)
}

func start(t *testing.T, change ...func(*setup)) *server {
	t.Helper()
	c := setup{allow: []string{"127.0.0.0/8"}, postgres: *allOnPostgres}
	for _, f := range change {
		f(&c)
	}
	log := slog.New(slog.DiscardHandler)
	metrics := obs.New()
	metrics.CountLog(obs.NewLogBuffer(io.Discard))
	metrics.WatchClients(func() obs.Clients { return obs.Clients{} })
	store := c.open(t, metrics.Committed)
	var allow []netip.Prefix
	for _, s := range c.allow {
		allow = append(allow, netip.MustParsePrefix(s))
	}
	policy := egress.NewPolicy(allow)
	transport := egress.NewTransport(egress.Options{Policy: policy})
	send := sender.New(transport, agentVersion, log)
	book := stats.New(store, log, metrics.StatsDropped)
	done := &watcher{Metrics: metrics, book: book, tick: make(chan struct{})}
	eng := engine.New(engine.Options{Queue: store, Sender: send, Log: log, Observer: done})
	metrics.WatchInFlight(eng.InFlight)
	metrics.WatchAccepting(func() (int, int, int) { return 0, 0, 0 })
	metrics.WatchArchive(func() int64 { return 0 }, func() bool { return false })
	metrics.WatchStore(obs.Store{Figures: store.Figures, Backlogs: store.Backlogs, Reports: func() bool { return true }})
	store.OnCommit(eng.OnCommit)
	if err := eng.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	runner := replays.New(store, log)
	c.api.Store, c.api.Dispatcher, c.api.Preview, c.api.Log = store, dispatcher{eng, runner}, send.Request, log
	if c.wrap != nil {
		c.api.Store = c.wrap(store)
	}
	c.api.Advise, c.api.TestAuth = transport.AdviseAddress, send.TestAuth
	c.api.Metrics, c.api.Accepted, c.api.Published = metrics.Handler(), metrics.Accepted, metrics.Published
	c.api.Operator = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // no caller is the operator
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"message":"no operator"}`)
	})
	running, stop := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { runner.Run(running, func(callbackd.KeyID) bool { return true }, eng) })
	c.api.Calls = book
	if c.api.Ready == nil {
		c.api.Ready = func(context.Context) error { return nil }
	}
	handler := api.New(c.api)
	web := httptest.NewUnstartedServer(handler)
	web.Config = api.Server(handler, log)
	if c.http != nil {
		c.http(web.Config)
	}
	web.Listener = api.Listener(web.Listener)
	web.Start()
	policy.Guard(netip.MustParseAddrPort(web.Listener.Addr().String()))
	s := &server{t: t, url: web.URL, store: store, engine: eng, api: handler, done: done, book: book, stored: c.stored}
	s.key = s.newKey("acme", c.live)
	s.token = sync.OnceValue(func() callbackd.Secret { return s.operator("test", callbackd.RoleFull).text })
	t.Cleanup(func() {
		handler.Close()
		web.Close()
		stop()
		ran.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		eng.Drain(ctx)
		transport.CloseIdleConnections()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// watcher lets a test wait for attempts without polling.
type watcher struct {
	*obs.Metrics
	book *stats.Recorder
	mu   sync.Mutex
	tick chan struct{}
}

func (w *watcher) AttemptDone(o *callbackd.Outcome, state callbackd.State, since time.Duration) {
	w.Metrics.AttemptDone(o, state, since)
	w.book.AttemptDone(o, state, since)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.tick)
	w.tick = make(chan struct{})
}

func (w *watcher) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tick
}

// until waits for f to become true. It asks again after every attempt, and now and
// then: what comes of an attempt may show a moment after it.
func (s *server) until(what string, f func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		tick := s.done.next()
		if f() {
			return
		}
		select {
		case <-tick:
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			s.t.Fatalf("%s did not happen in time", what)
		}
	}
}

func (s *server) newKey(account string, live bool) callbackd.Key {
	s.t.Helper()
	k, err := s.store.CreateKey(s.t.Context(), callbackd.Key{Account: account, APIKey: rand.Text(), Secret: callbackd.Secret(rand.Text()), Live: live, CreatedAt: time.Now()})
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// as is the same server, called with another key.
func (s *server) as(k callbackd.Key) *server {
	other := *s
	other.key = k
	return &other
}

// loosely is the same server, called in ways that are read although
// openapi.yaml recommends others.
func (s *server) loosely() *server {
	other := *s
	other.loose = true
	return &other
}

func (s *server) sign(r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/admin/") {
		r.Header.Set("Authorization", "Bearer "+s.token().Reveal())
		return
	}
	signature.SetHeaders(r.Header, s.key.Account, s.key.APIKey, s.key.Secret.Reveal(), time.Now())
}

// reply is an answer that was held against openapi.yaml.
type reply struct {
	t      *testing.T
	key    string
	status int
	header http.Header
	body   string
}

// call makes a signed call, or one with an operator token. change may unsign it.
func (s *server) call(method, path, body string, change ...func(*http.Request)) reply {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	s.sign(req)
	for _, f := range change {
		f(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	document.check(s.t, req, body, !s.loose, resp, raw)
	return reply{s.t, s.key.APIKey, resp.StatusCode, resp.Header, string(raw)}
}

// is compares status and body byte for byte; KEY in want is the API key.
func (r reply) is(status int, want string) reply {
	r.t.Helper()
	want = strings.ReplaceAll(want, "KEY", r.key) + "\n"
	if r.status != status {
		r.t.Errorf("status %d, want %d: %s", r.status, status, r.body)
	} else if diff := cmp.Diff(want, r.body); diff != "" {
		r.t.Errorf("body (-want +got):\n%s", diff)
	}
	return r
}

// ok requires a status.
func (r reply) ok(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// says requires a status and parts of the message.
func (r reply) says(status int, parts ...string) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Errorf("status %d, want %d: %s", r.status, status, r.body)
	}
	msg := decode[struct{ Message string }](r).Message
	for _, p := range parts {
		if !strings.Contains(msg, p) {
			r.t.Errorf("message %q lacks %q", msg, p)
		}
	}
	return r
}

// equal fails the test unless got is what is wanted of the named thing.
func equal(t *testing.T, name string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// lacks fails the test when a text has one of the parts.
func lacks(t *testing.T, name, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(text, p) {
			t.Errorf("%s has %q: %s", name, p, text)
		}
	}
}

// contains fails the test unless a text has every part.
func contains(t *testing.T, name, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q: %s", name, p, text)
		}
	}
}

// register creates the callback that most tests need.
func (s *server) register(event, url, more string) reply {
	s.t.Helper()
	return s.call("POST", "/v1/callbacks", `{"event":"`+event+`","url":"`+url+`"`+more+`}`).ok(200)
}

func (s *server) publish(event, session, data string) published {
	s.t.Helper()
	r := s.call("POST", "/v1/events", `{"event":"`+event+`","session_key":"`+session+`","data":`+data+`}`).ok(202)
	return decode[published](r)
}

type published struct {
	ID         string
	Sequence   int64
	Deliveries int
}

func escape(s string) string { return url.QueryEscape(s) }

func itoa(n int) string { return strconv.Itoa(n) }

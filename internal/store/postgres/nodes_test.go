package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/google/go-cmp/cmp"
)

// database opens stores on one database, as several nodes do.
type database struct {
	testing.TB
	Options
	key callbackd.Key
	cb  *callbackd.Callback
}

// unhurried is the patience for commands that must succeed, however busy the machine is.
const unhurried = time.Minute

// newDatabase returns the database at url and nodes on it. It gets a key and a callback.
func newDatabase(t testing.TB, url string, nodes int) (*database, []*Store) {
	t.Helper()
	d := &database{TB: t, Options: Options{URL: url, KeysetFile: keyset, patience: unhurried}}
	var stores []*Store
	for range nodes {
		s := open(t, d.Options)
		t.Cleanup(func() { s.Close() })
		stores = append(stores, s)
	}
	var err error
	now := time.Now()
	d.key, err = stores[0].CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "canary-api-secret", CreatedAt: now})
	d.must(err)
	d.cb, _, err = stores[0].CreateCallback(t.Context(), callbackd.Callback{Key: d.key.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}"),
		Headers: []callbackd.Header{{Name: "A", Value: "canary-header"}}, Secrets: []callbackd.SigningSecret{{Value: "canary-signing"}}, Policy: callbackd.Policy{Auth: &callbackd.Auth{OAuth2: &callbackd.OAuth2{ClientSecret: "canary-client"}}}}, now)
	d.must(err)
	return d, stores
}

func (d *database) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// equal compares what a test got with what it wants.
func (d *database) equal(what string, got, want any) {
	d.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		d.Errorf("%s: -want +got\n%s", what, diff)
	}
}

func (d *database) event(session string) store.NewEvent {
	return store.NewEvent{Type: callbackd.Complete, Session: session, Data: []byte("{}")}
}

func (d *database) accept(s *Store, at time.Time, sessions ...string) ([]*callbackd.Event, error) {
	b := store.Batch{Key: d.key.ID, At: at}
	for _, session := range sessions {
		b.Events = append(b.Events, d.event(session))
	}
	return s.Accept(d.Context(), b)
}

// checked checks that every delivery is in exactly one state, and returns how many events
// there are.
func (d *database) checked(s *Store) int64 {
	d.Helper()
	r, err := s.Check(d.Context())
	d.must(err)
	for _, f := range r.Faults {
		d.Error(f)
	}
	return r.Events
}

// Nodes whose clocks are a minute apart accept events of the same sessions at the same
// time: the sequence numbers have no gap, and the ids grow with them.
func TestNodesNumberASessionTogether(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 3)
	const workers, each, sessions = 8, 20, 5
	var work sync.WaitGroup
	for n, s := range nodes {
		for w := range workers {
			work.Go(func() {
				for i := range each {
					at := time.Now().Add(time.Duration(n-1) * 30 * time.Second)
					if _, err := d.accept(s, at, fmt.Sprint("S", (w+i)%sessions), fmt.Sprint("S", (w+i+1)%sessions)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	work.Wait()
	total := 0
	for i := range sessions {
		var evs []*callbackd.Event
		for q := (store.EventQuery{Key: d.key.ID, Session: fmt.Sprint("S", i), Limit: store.MaxPage}); ; {
			page, err := nodes[i%3].ListEvents(t.Context(), q)
			d.must(err)
			evs = append(evs, page.Events...)
			if q.After = page.Next; page.Next == 0 {
				break
			}
		}
		for j, ev := range evs { // newest first, by id
			if want := int64(len(evs) - j); ev.Sequence != want {
				t.Fatalf("session %d: event %s has sequence %d, want %d", i, ev.ID, ev.Sequence, want)
			}
		}
		total += len(evs)
	}
	if want := 3 * workers * each * 2; total != want || d.checked(nodes[0]) != int64(want) {
		t.Errorf("%d events, want %d", total, want)
	}
}

// Two nodes, with one command each, insert the same new row at the same time: that of an
// idempotency key, then that of a session.
func TestRaceForANewRowOverNodes(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	const rounds = 30
	both := func(batch func(node int) store.Batch) [2]*callbackd.Event {
		var out [2]*callbackd.Event
		var work sync.WaitGroup
		for n, s := range nodes {
			work.Go(func() {
				evs, err := s.Accept(t.Context(), batch(n))
				if err != nil {
					t.Error(err)
					return
				}
				out[n] = evs[0]
			})
		}
		work.Wait()
		if t.Failed() {
			t.FailNow()
		}
		return out
	}
	for round := range rounds {
		evs := both(func(n int) store.Batch { // sessions of their own: no lock but the key's orders them
			return store.Batch{Key: d.key.ID, At: time.Now(), Idempotency: fmt.Sprint(round), Events: []store.NewEvent{d.event(fmt.Sprint("S", n))}}
		})
		if evs[0].ID != evs[1].ID {
			t.Fatalf("events %s and %s for one idempotency key", evs[0].ID, evs[1].ID)
		}
		evs = both(func(int) store.Batch {
			return store.Batch{Key: d.key.ID, At: time.Now(), Events: []store.NewEvent{d.event(fmt.Sprint("new", round))}}
		})
		if evs[0].Sequence+evs[1].Sequence != 3 {
			t.Fatalf("sequences %d and %d", evs[0].Sequence, evs[1].Sequence)
		}
	}
	if n := d.checked(nodes[0]); n != 3*rounds {
		t.Errorf("%d events, want %d", n, 3*rounds)
	}
}

// Ids that another node has given out are not given out again: the primary key refuses
// them, and the group takes others.
func TestIDsThatAreTakenAreReplaced(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	at := time.Now()
	s := nodes[0]
	evs, err := d.accept(s, at, "A", "A", "A")
	d.must(err)
	s.last.id = evs[0].ID - 1 // the last id of a node that does not know these events
	again, err := d.accept(s, at, "B")
	d.must(err)
	if again[0].ID <= evs[2].ID || d.checked(s) != 4 {
		t.Errorf("%s, after %s", again[0].ID, evs[2].ID)
	}
}

// aged makes the cached settings of a node as old as they may get.
func aged(s *Store) {
	s.cached.mu.Lock()
	defer s.cached.mu.Unlock()
	s.cached.checkedAt = s.cached.checkedAt.Add(-store.MaxKeyAge)
}

// The other nodes see a change of one node after MaxKeyAge, whatever they have cached.
func TestChangesReachOtherNodes(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	ctx, a, b := t.Context(), nodes[0], nodes[1]
	known := func() (*callbackd.Callback, *callbackd.Key) {
		t.Helper()
		cb, err := b.CallbackByID(ctx, d.cb.ID)
		d.must(err)
		k, err := b.Key(ctx, "k")
		d.must(err)
		return cb, k
	}
	known()
	_, err := a.ChangeCallback(ctx, d.key.ID, callbackd.Complete, "default", func(cb *callbackd.Callback) error {
		cb.SetPause(callbackd.Pause{Reason: callbackd.PausedByUser, At: time.Now()})
		return nil
	})
	d.must(err)
	aged(b)
	if cb, _ := known(); !cb.Paused() {
		t.Error("a pause is not seen")
	}
	evs, err := d.accept(a, time.Now(), "S")
	d.must(err)
	o := callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[0].ID, Callback: d.cb.ID}}, Change: callbackd.CallbackChange{Version: 1, HealthTurned: true, FailingSince: time.Now()},
		Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Failed}}}
	if _, err := a.Record(ctx, &o); err != nil {
		t.Fatal(err)
	}
	aged(b)
	if cb, _ := known(); cb.FailingSince.IsZero() {
		t.Error("a change of health is not seen")
	}
	d.must(a.ChangeKey(ctx, "k", func(k *callbackd.Key) error {
		k.Revoke(time.Now())
		return nil
	}))
	aged(b)
	if cb, k := known(); !k.Revoked() || !cb.Deleted() {
		t.Error("a revocation is not seen")
	}
}

// A callback that one node has created is a target of the next event of every node,
// because targets are read with the event.
func TestANewCallbackIsATargetOnEveryNodeAtOnce(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	for i := range 20 {
		_, err := d.accept(nodes[1], time.Now(), "S")
		d.must(err)
		_, _, err = nodes[0].CreateCallback(t.Context(), callbackd.Callback{Key: d.key.ID, Event: callbackd.Complete, Name: fmt.Sprint("n", i), URL: "https://a.example/", Payload: []byte("{}")}, time.Now())
		d.must(err)
		evs, err := d.accept(nodes[1], time.Now(), "S")
		d.must(err)
		if len(evs[0].Targets) != i+2 {
			t.Fatalf("the event has %d targets, want %d", len(evs[0].Targets), i+2)
		}
	}
}

// Two nodes create the same callback, or the last one that the limit allows, at the same
// time.
func TestCallbacksAreMadeOnceOverNodes(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 2)
	var work sync.WaitGroup
	var mu sync.Mutex
	created := map[string]int{}
	for i := range 4 * callbackd.MaxCallbacks {
		work.Go(func() {
			name := fmt.Sprint("n", i/2)
			_, isNew, err := nodes[i%2].CreateCallback(t.Context(), callbackd.Callback{Key: d.key.ID, Event: callbackd.StatusChange, Name: name, URL: "https://a.example/", Payload: []byte("{}")}, time.Now())
			mu.Lock()
			defer mu.Unlock()
			if isNew {
				created[name]++
			}
			if err != nil && callbackd.KindOf(err) != callbackd.KindLimited {
				t.Error(err)
			}
		})
	}
	work.Wait()
	for name, n := range created {
		if n != 1 {
			t.Errorf("%s was created %d times", name, n)
		}
	}
	if len(created) != callbackd.MaxCallbacks {
		t.Errorf("%d were made, want %d", len(created), callbackd.MaxCallbacks)
	}
}

func TestTenNodesStartAtOnceOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	var work sync.WaitGroup
	for i := range 10 {
		work.Go(func() {
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: fmt.Sprint(i), Secret: "s", CreatedAt: time.Now()}); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	s := open(t, o)
	defer s.Close()
	keys, err := s.ListKeys(t.Context())
	if err != nil || len(keys) != 10 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	d := database{TB: t, Options: o}
	if _, err := s.shared.Exec(t.Context(), "INSERT INTO schema_version VALUES (99)"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), d.Options); err == nil || !strings.Contains(err.Error(), "newer callbackd") {
		t.Errorf("a database of a newer version: %v", err)
	}
}

// A node without the keyset, or with another one, is refused when it starts.
func TestEveryNodeNeedsTheSameKeyset(t *testing.T) {
	t.Parallel()
	d, _ := newDatabase(t, stock.URL(t), 1)
	for want, o := range map[string]Options{
		"is required": {URL: d.URL},
		"missing":     {URL: d.URL, KeysetFile: filepath.Join(t.TempDir(), "keys.json")},
	} {
		if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	other := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	open(t, other).Close()
	if _, err := Open(t.Context(), Options{URL: d.URL, KeysetFile: other.KeysetFile}); err == nil || !strings.Contains(err.Error(), "copy of the file") {
		t.Errorf("with another keyset: %v", err)
	}
}

func TestSecretsAreSealedInTheDatabase(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	seen := 0
	for _, table := range []string{"keys", "callbacks", "callback_versions", "settings"} {
		rows, err := nodes[0].shared.Query(t.Context(), "SELECT decode(substr(m[1], 3), 'hex') FROM "+table+" t, regexp_matches(t::text, '\\\\x[0-9a-f]*', 'g') m UNION ALL SELECT convert_to(t::text, 'UTF8') FROM "+table+" t")
		d.must(err)
		for rows.Next() {
			var value []byte
			d.must(rows.Scan(&value))
			if seen++; bytes.Contains(value, []byte("canary-")) {
				t.Errorf("%s holds a secret in clear: %q", table, value)
			}
		}
		d.must(rows.Err())
	}
	if seen < 8 {
		t.Errorf("only %d sealed values were checked, want 8 or more", seen)
	}
	raw, err := os.ReadFile(d.KeysetFile)
	d.must(err)
	if !strings.Contains(string(raw), "AesGcm") {
		t.Errorf("the keyset has no AES-GCM key: %s", raw)
	}
	if _, err := nodes[0].shared.Exec(t.Context(), "UPDATE keys SET api_key = 'k2'"); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].Key(t.Context(), "k2"); err == nil || !strings.Contains(err.Error(), "tampered") {
		t.Errorf("a secret in another row: %v", err)
	}
}

func TestCheckNamesPlantedFaults(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	ctx, s := t.Context(), nodes[0]
	evs, err := d.accept(s, time.Now(), "S", "S", "S", "S", "S")
	d.must(err)
	ended := callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[3].ID, Callback: d.cb.ID}}, Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}}
	if _, err := s.Record(ctx, &ended); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		fmt.Sprintf("DELETE FROM pending WHERE event_id = %d", evs[0].ID),
		"INSERT INTO pending VALUES (7, 1, 0, 0, false)",
		fmt.Sprintf("INSERT INTO pending (callback_no, event_id, attempts, step, manual, due) VALUES (%d, %d, 1, 0, false, 1)", d.cb.ID, evs[3].ID),
		fmt.Sprintf("DELETE FROM events WHERE id = %d", evs[2].ID),
		fmt.Sprintf("UPDATE events SET sequence = 1 WHERE id = %d", evs[4].ID),
		fmt.Sprintf("INSERT INTO attempts VALUES (%d, 99, 1, 1, 'delivered', '')", evs[1].ID),
		fmt.Sprintf("INSERT INTO attempts VALUES (%d, %d, 3, 1, 'pending', '')", evs[1].ID, d.cb.ID),
		`UPDATE keys SET limits = '{"callbacks":101}', callback_policy = 'null'`,
	} {
		if _, err := s.shared.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Check(ctx)
	d.must(err)
	all := strings.Join(r.Faults, "\n")
	for _, want := range []string{"it is lost", "out of sequence", "pending as well", "the pending row of delivery", "an attempt of delivery", "attempt 3 where 1 was expected", "the limit callbacks is 101", "is no JSON object"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
}

// One outcome that cannot be stored does not make its group fail.
func TestOneBadOutcomeFailsAlone(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	s := nodes[0]
	evs, err := d.accept(s, time.Now(), "A", "B", "C")
	d.must(err)
	if _, err := s.shared.Exec(t.Context(), "INSERT INTO attempts VALUES ($1, $2, 1, 1, 'pending', '')", int64(evs[1].ID), int64(d.cb.ID)); err != nil {
		t.Fatal(err)
	}
	var group []*outcome
	for _, ev := range evs {
		group = append(group, &outcome{command: newCommand(), detail: []byte{1},
			Outcome: &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: d.cb.ID}},
				Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}}})
	}
	s.recordGroup(group, false)
	d.must(group[0].err)
	d.must(group[2].err)
	if err := group[1].err; err == nil || callbackd.KindOf(err) != callbackd.KindInternal {
		t.Errorf("the second outcome ends with %v; want an internal error", err)
	}
}

func TestTextsThatPostgreSQLCannotHold(t *testing.T) {
	t.Parallel()
	d, nodes := newDatabase(t, stock.URL(t), 1)
	for _, session := range []string{"a\x00b", "a\xffb"} {
		if _, err := d.accept(nodes[0], time.Now(), session); callbackd.KindOf(err) != callbackd.KindInvalid {
			t.Errorf("%q: %v", session, err)
		}
	}
	_, err := nodes[0].CreateKey(t.Context(), callbackd.Key{APIKey: "x", Name: "a\xff", CreatedAt: time.Now()})
	if e := (*callbackd.Error)(nil); !errors.As(err, &e) || e.Kind != callbackd.KindInvalid {
		t.Errorf("a key's name: %v", err)
	}
}

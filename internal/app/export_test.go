package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/export"
	"callbackd/internal/store"
	"callbackd/internal/store/storetest"
	"callbackd/internal/view"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// onStores runs a test on a used store of each kind, which a server has open, and on what
// a command sees of it.
func onStores(t *testing.T, test func(t *testing.T, server, command store.Store)) {
	t.Parallel()
	for name, place := range map[string]func(t *testing.T) StoreConfig{
		"sqlite":   func(t *testing.T) StoreConfig { return StoreConfig{Data: t.TempDir()} },
		"postgres": target,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := place(t)
			server := openPlace(t, p)
			defer closeStore(t, server)
			storetest.Use(t, server, 7, 200)
			command, err := p.Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer closeStore(t, command)
			test(t, server, command)
		})
	}
}

// preview is a request without signatures: the secrets of a used store are not real ones.
func preview(cb *callbackd.Callback, ev *callbackd.Event, n int, _ time.Time) (*callbackd.Request, error) {
	u, err := url.Parse(cb.URL)
	return &callbackd.Request{Method: cb.Method, URL: u, Headers: cb.Headers, Body: fmt.Append(nil, n, string(ev.Data))}, err
}

// exported returns what an export of a store writes after an event.
func exported(t *testing.T, s store.Store, key callbackd.KeyID, after callbackd.EventID) []byte {
	t.Helper()
	var out bytes.Buffer
	x := export.Exporter{From: s, Preview: preview, Told: func(export.Progress) {}}
	if _, err := x.Run(t.Context(), store.EventQuery{Key: key, Until: time.Now().Add(24 * time.Hour), After: after}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// line is a line of an export.
type line struct {
	APIKey string `json:"api_key"`
	wire.Event
	Deliveries []wire.Delivery `json:"deliveries"`
}

func linesOf(t *testing.T, raw []byte) (lines []line) {
	t.Helper()
	for text := range bytes.Lines(raw) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestExportIsWhatTheAPIShows(t *testing.T) { onStores(t, exportIsWhatTheAPIShows) }

func exportIsWhatTheAPIShows(t *testing.T, server, command store.Store) {
	all := linesOf(t, exported(t, command, store.AllKeys, 0))
	attempts, byKey := 0, map[string][]string{}
	for _, l := range all {
		id, _ := callbackd.ParseEventID(l.ID)
		ev, err := server.Event(t.Context(), store.AllKeys, id)
		if err != nil {
			t.Fatal(err)
		}
		want := line{Event: view.Event(ev), Deliveries: []wire.Delivery{}}
		want.Event.Deliveries = nil
		for _, cb := range ev.Targets {
			d, err := view.Describe(t.Context(), server, preview, ev.Key, callbackd.DeliveryID{Event: id, Callback: cb}, 0)
			if err != nil {
				t.Fatal(err)
			}
			attempts += len(d.History)
			want.Deliveries = append(want.Deliveries, *d)
		}
		key, err := server.KeyByID(t.Context(), ev.Key)
		if err != nil {
			t.Fatal(err)
		}
		want.APIKey = key.APIKey
		byKey[key.APIKey] = append(byKey[key.APIKey], l.ID)
		var shown line
		raw, _ := json.Marshal(want)
		if err := json.Unmarshal(raw, &shown); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(shown, l, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("event %s: -API +export\n%s", id, diff)
		}
	}
	report, err := server.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(all)) != report.Events || attempts == 0 || len(byKey) < 2 {
		t.Errorf("%d events of %d keys with %d attempts; want %d events", len(all), len(byKey), attempts, report.Events)
	}
	for name, want := range byKey {
		key, err := server.Key(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range linesOf(t, exported(t, command, key.ID, 0)) {
			got = append(got, l.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events of one key: %s", diff)
		}
	}
}

// However a run ends, the next one makes the file what one run writes.
func TestExportGoesOnAfterAnyByte(t *testing.T) { onStores(t, exportGoesOnAfterAnyByte) }

func exportGoesOnAfterAnyByte(t *testing.T, _, command store.Store) {
	whole := exported(t, command, store.AllKeys, 0)
	cuts := []int{0, 1, 5, len(whole) - 1, len(whole)}
	for at, end := range whole {
		if end == '\n' && at%5 == 0 {
			cuts = append(cuts, at, at+1, at+2, at+15)
		}
	}
	path := filepath.Join(t.TempDir(), "events.jsonl")
	for _, cut := range cuts {
		cut = min(cut, len(whole))
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := export.OpenFile(path)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if _, err := f.Write(exported(t, command, store.AllKeys, f.Last)); err != nil {
			t.Fatal(err)
		}
		sum := f.Sum()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, whole) {
			t.Fatalf("cut at byte %d of %d: the file has %d bytes and is another one", cut, len(whole), len(got))
		}
		if want := sumOf(whole); !bytes.Equal(sum, want) {
			t.Fatalf("cut at byte %d: the hash is %x, want %x", cut, sum, want)
		}
	}
}

// While events are accepted, runs that go on from each other write every event once.
func TestExportBesidePublishers(t *testing.T) { onStores(t, exportBesidePublishers) }

func exportBesidePublishers(t *testing.T, server, command store.Store) {
	keys, err := server.ListKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var publishers sync.WaitGroup
	for i := range 4 {
		publishers.Go(func() {
			for n := range 50 {
				key := keys[(i+n)%len(keys)]
				_, err := server.Accept(t.Context(), store.Batch{Key: key.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.StatusChange, Session: fmt.Sprint("P", i), Data: []byte("{}")}}})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { publishers.Wait(); close(ended) }()
	var ids []string
	for last, more := callbackd.EventID(0), true; more; {
		select {
		case <-ended:
			more = false // this run has the rest
		default:
		}
		for _, l := range linesOf(t, exported(t, command, store.AllKeys, last)) {
			ids = append(ids, l.ID)
			last, _ = callbackd.ParseEventID(l.ID)
		}
	}
	var want []string
	for _, l := range linesOf(t, exported(t, server, store.AllKeys, 0)) {
		want = append(want, l.ID)
	}
	if diff := cmp.Diff(want, ids); diff != "" || len(ids) < 200 {
		t.Errorf("%d events: -one run +many runs\n%s", len(ids), diff)
	}
}

// A file that is no export is left as it is.
func TestExportLeavesOtherFilesAlone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"notes", "notes\n", `{"api_key":1}` + "\n", "{\"api_key\":\"a\",\"id\":\"evt_0000000000001\"}\nnotes\n",
		"{\"api_key\":\"a\",\"id\":\"evt_0000000000002\"}\n{\"api_key\":\"a\",\"id\":\"evt_0000000000001\"}\n"} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := export.OpenFile(path); callbackd.KindOf(err) != callbackd.KindSetting {
			t.Errorf("%q: %v; want a refusal", text, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
	path := filepath.Join(t.TempDir(), "f")
	f, err := export.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := export.OpenFile(path); callbackd.KindOf(err) != callbackd.KindConflict {
		t.Errorf("a second export to the same file: %v", err)
	}
}

func sumOf(b []byte) []byte {
	f := sha256.Sum256(b)
	return f[:]
}

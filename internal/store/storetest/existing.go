package storetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Inventory returns everything that the contract returns of a store, as text with one
// fact a line. Tests compare it with the text that an earlier version returned for the
// same store. So the text has values only and no names of fields.
func Inventory(t *testing.T, st store.Store) string {
	t.Helper()
	v := &inventory{suite: &suite{T: t, Store: st, at: used}}
	keys, err := v.ListKeys(v.ctx())
	v.must(err)
	report, err := v.Check(v.ctx())
	v.must(err)
	v.line("events %d, faults %d", report.Events, report.FaultN)
	for _, b := range report.Callbacks {
		v.callback(&b)
	}
	for i := range keys {
		v.key(&keys[i])
	}
	for _, name := range loginNames {
		l, err := v.Login(v.ctx(), sha256.Sum256([]byte(name)), used)
		if err == nil {
			v.line("login %s: key %d, until %s", name, l.Key, stamp(l.ExpiresAt))
		}
	}
	running := v.running(store.AllKeys, store.MaxPage)
	slices.Sort(running)
	v.line("running replays %d", running)
	return v.out.String()
}

type inventory struct {
	*suite
	out bytes.Buffer
}

func (v *inventory) line(format string, args ...any) {
	fmt.Fprintf(&v.out, format+"\n", args...)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000")
}

func (v *inventory) callback(b *store.Balance) {
	v.Helper()
	cb, err := v.CallbackByID(v.ctx(), b.Callback.ID)
	v.must(err)
	v.line("callback %d: key %d, %s %q, version %d, created %s, updated %s, deleted %s", cb.ID, cb.Key, cb.Event, cb.Name, cb.Version, stamp(cb.CreatedAt), stamp(cb.UpdatedAt), stamp(cb.DeletedAt))
	v.line("  pause %q %s, failing since %s, closed until %s, proven %t, released %s %t", cb.Pause.Reason, stamp(cb.Pause.At), stamp(cb.FailingSince), stamp(cb.ClosedUntil), cb.Proven, stamp(cb.ReleasedAt), cb.Releasing)
	for _, s := range cb.Secrets {
		v.line("  secret %q until %s", s.Value.Reveal(), stamp(s.ExpiresAt))
	}
	v.line("  rate %g, retry %v", cb.Policy.Rate, cb.Policy.Retry)
	for version := range cb.Version {
		old, err := v.CallbackVersion(v.ctx(), cb.ID, version+1)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			continue
		}
		v.must(err)
		v.line("  version %d: %s %s %s", version+1, old.Method, old.URL, old.Payload)
		for _, h := range old.Headers {
			v.line("    %s: %s", h.Name, h.Value.Reveal())
		}
	}
	v.line("  accepted %d, delivered %d, failed %d, canceled %d, pending %d, attempts %d, repeats %d", b.Accepted, b.Delivered, b.Failed, b.Canceled, b.Pending, b.Attempts, b.Repeats)
	v.queue(cb.ID)
	receiver, err := v.Health(v.ctx(), cb.ID, store.PendingQuery{})
	v.must(err)
	v.line("  receiver %s %s %s %d %s", stamp(receiver.LastSuccess), stamp(receiver.LastFailure), receiver.LastFault, receiver.LastStatus, stamp(receiver.CertNotAfter))
}

func (v *inventory) queue(cb callbackd.CallbackID) {
	v.Helper()
	far := used.AddDate(1, 0, 0)
	fresh := v.fresh(cb)
	scheduled, _, err := v.Pending(v.ctx(), callbackd.PendingRead{Callback: cb, Source: callbackd.Retries, At: far, Limit: 1000})
	v.must(err)
	replayed, _, err := v.Pending(v.ctx(), callbackd.PendingRead{Callback: cb, Source: callbackd.Replays, At: far, Limit: 1000})
	v.must(err)
	blocked, _, err := v.Pending(v.ctx(), callbackd.PendingRead{Callback: cb, Source: callbackd.Heads, At: used, Limit: 1000})
	v.must(err)
	v.deliveries("first attempts", fresh)
	v.deliveries("retries", bySession(scheduled))
	v.deliveries("replayed", bySession(replayed))
	v.deliveries("blocked", bySession(blocked))
}

func (v *inventory) deliveries(what string, ds []callbackd.Delivery) {
	for _, d := range ds {
		v.line("  %s %s: %s %d, test %t, attempts %d, step %d, failed %s, due %s, blocks until %s, manual %t, replay %d",
			what, d.ID, d.Session, d.Sequence, d.Test, d.Attempts, d.Step, stamp(d.FirstFailedAt), stamp(d.Due), stamp(d.HoldsUntil), d.Manual, d.Replay)
	}
}

func (v *inventory) key(k *callbackd.Key) {
	v.Helper()
	v.line("key %d: %s %s %q, live %t, created %s, revoked %s, time frame %s, links %q", k.ID, k.Account, k.APIKey, k.Name, k.Live, stamp(k.CreatedAt), stamp(k.RevokedAt), k.SessionTimeFrame(), k.CaptureURL)
	v.line("  secret %q, before %q until %s", k.Secret.Reveal(), k.OldSecret.Reveal(), stamp(k.OldUntil))
	logs, err := v.ListLogs(v.ctx(), store.LogQuery{Key: k.ID, Limit: store.MaxPage})
	v.must(err)
	for _, e := range logs.Entries {
		v.line("  log %s %s %q %d %s %q %s %d", stamp(e.At), e.Method, e.Path, e.Status, e.Duration, e.Message, e.Address, e.Count)
	}
	replays, err := v.ListReplays(v.ctx(), store.ReplayQuery{Key: k.ID, Limit: store.MaxPage})
	v.must(err)
	for _, r := range replays.Replays {
		v.line("  replay %d: %s, target %d, rate %g, created %s, ended %s, total %d, due %d, skipped %d, new %d, delivered %d, failed %d, canceled %d",
			r.ID, r.State, r.Filter.Target, r.Rate, stamp(r.CreatedAt), stamp(r.EndedAt), r.Total, r.Due, r.Skipped, r.Created, r.Delivered, r.Failed, r.Canceled)
	}
	stats, err := v.ListStats(v.ctx(), store.StatsQuery{Key: k.ID, Interval: store.Hour, Since: used.Add(-time.Hour), Until: used.AddDate(1, 0, 0)})
	v.must(err)
	for _, b := range stats {
		v.line("  hour %s: delivered %d, failed %d, canceled %d, attempts %d, faults %d, repeats %d", stamp(b.At), b.Delivered, b.Failed, b.Canceled, b.Attempts, b.Faults, b.Repeats)
	}
	v.events(k.ID)
	v.sessions(k.ID)
	for _, state := range []callbackd.State{callbackd.Pending, callbackd.Failed, callbackd.Canceled, callbackd.Delivered} {
		v.byState(k.ID, state)
	}
}

func (v *inventory) events(key callbackd.KeyID) {
	v.Helper()
	for q := (store.EventQuery{Key: key, Limit: store.MaxPage}); ; {
		page, err := v.ListEvents(v.ctx(), q)
		v.must(err)
		for _, ev := range page.Events {
			v.line("  event %s: %s, session %s %d, test %t, accepted %s, targets %d, data %s", ev.ID, ev.Type, ev.Session, ev.Sequence, ev.Test, stamp(ev.Accepted()), ev.Targets, digest(ev.Data))
		}
		if q.After = page.Next; q.After == 0 {
			return
		}
	}
}

// digest shortens a value for the text of an inventory.
func digest(b []byte) string {
	return fmt.Sprintf("%d bytes %x", len(b), sha256.Sum256(b))[:24]
}

func (v *inventory) sessions(key callbackd.KeyID) {
	v.Helper()
	for q := (store.SessionQuery{Key: key, Limit: store.MaxPage}); ; {
		page, err := v.ListSessions(v.ctx(), q)
		v.must(err)
		for _, found := range page.Sessions {
			x, err := v.Session(v.ctx(), key, found.SessionKey)
			v.must(err)
			v.line("  session %s: %s, %q, created %s, updated %s, ended %s, expires %s, reference %s, photos %d, results %s", x.SessionKey, x.Status, x.FirstName,
				stamp(x.CreatedAt), stamp(x.UpdatedAt), stamp(x.EndedAt), stamp(x.ExpiresAt), x.Reference, len(x.Photos), digest(x.Results))
			notes, err := v.SessionNotes(v.ctx(), key, x.SessionKey)
			v.must(err)
			for _, n := range notes {
				v.line("    note %s %q %q %q", stamp(n.InsertedAt), n.Title, n.Description, n.InsertedBy)
			}
		}
		if q.After = page.Next; q.After == (store.SessionCursor{}) {
			return
		}
	}
}

func (v *inventory) byState(key callbackd.KeyID, state callbackd.State) {
	v.Helper()
	for q := (store.DeliveryQuery{Key: key, State: state, Limit: store.MaxPage}); ; {
		page, err := v.ListDeliveries(v.ctx(), q)
		v.must(err)
		for _, found := range page.Deliveries {
			d, err := v.Delivery(v.ctx(), key, found.ID, 0)
			v.must(err)
			v.line("  delivery %s: %s, due %s, manual %t, replay %d, since %s", d.ID, d.State, stamp(d.Due), d.Manual, d.Replay, stamp(d.Since))
			for _, a := range d.History {
				v.line("    attempt %d: version %d, %s, %s, status %d, fault %q, %q, %q, took %s, due %s", a.Number, a.Version, a.State, stamp(a.StartedAt), a.Status, a.Fault, a.Error, a.Why, a.Timings.Total, stamp(a.Due))
			}
		}
		if q.After = page.Next; q.After == (callbackd.DeliveryID{}) {
			return
		}
	}
}

// fixtures are a data directory and a database that the version 90d1850 wrote, and the
// inventories that it returned for them. The directory is that of a killed server: its
// newest events are in the write-ahead log only.
//
//go:embed testdata/90d1850
var fixtures embed.FS

// ExistingDirectory unpacks a data directory that an earlier version wrote. It
// returns the inventory to expect of it.
func ExistingDirectory(t *testing.T, dir string) (want string) {
	t.Helper()
	files := tar.NewReader(fixture(t, "sqlite.tar.gz"))
	for {
		file, err := files.Next()
		if err == io.EOF {
			return fixtureText(t, "sqlite.txt.gz")
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file.Name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ExistingDatabase writes the keyset of a PostgreSQL database of an earlier
// version. It returns the statements that make the database in a schema, and
// the inventory to expect of it.
func ExistingDatabase(t *testing.T, schema, keysetFile string) (sql, want string) {
	t.Helper()
	keyset, err := fixtures.ReadFile("testdata/90d1850/postgres-keys.json")
	if err == nil {
		err = os.WriteFile(keysetFile, keyset, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	sql = strings.ReplaceAll(fixtureText(t, "postgres.sql.gz"), "fixture.", schema+".")
	return sql, fixtureText(t, "postgres.txt.gz")
}

func fixture(t *testing.T, name string) io.Reader {
	t.Helper()
	packed, err := fixtures.Open("testdata/90d1850/" + name)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	return unpacked
}

func fixtureText(t *testing.T, name string) string {
	t.Helper()
	text, err := io.ReadAll(fixture(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

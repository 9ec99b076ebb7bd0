package postgres

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// A commit that waits for its standby loses its connection. The store finds the commit on
// this machine, but does not acknowledge it as long as the standby does not have it.
func TestACommitWithoutItsStandbyIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	d, nodes := newDatabase(t, server.Schema(t), 1)
	evs, err := d.accept(nodes[0], time.Now(), "S")
	d.must(err)
	s := open(t, d.Options)
	defer s.Close()
	s.patience = 2 * time.Second // of what cannot succeed
	admin, err := pgx.Connect(t.Context(), d.URL)
	d.must(err)
	exec := func(sql string) int64 {
		t.Helper()
		tag, err := admin.Exec(t.Context(), sql)
		d.must(err)
		return tag.RowsAffected()
	}
	await := func(sql string) {
		t.Helper()
		for n := 1; exec(sql) == 0; n++ {
			if !backoff(t.Context(), 1) {
				t.Fatal(sql)
			}
		}
	}
	exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	exec("SELECT pg_reload_conf()")
	await("SELECT 1 WHERE current_setting('synchronous_standby_names') = 'nobody'")
	for what, commit := range map[string]func() error{
		"an event": func() error { _, err := d.accept(s, time.Now(), "S"); return err },
		"an outcome": func() error {
			_, err := s.Record(t.Context(), &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[0].ID, Callback: d.cb.ID}},
				Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now()}, Decision: callbackd.Decision{State: callbackd.Delivered}}})
			return err
		},
	} {
		done := make(chan error, 1)
		go func() { done <- commit() }()
		await("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		if err := <-done; callbackd.KindOf(err) != callbackd.KindUnavailable {
			t.Errorf("%s that no standby has is answered with %v", what, err)
		}
	}
	exec("ALTER SYSTEM RESET synchronous_standby_names")
	exec("SELECT pg_reload_conf()")
	if _, err := d.accept(nodes[0], time.Now(), "S"); err != nil {
		t.Error(err)
	}
	d.must(admin.Close(t.Context()))
	nodes[0].Close()
}

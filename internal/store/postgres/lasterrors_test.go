package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// After the upgrade of a database from before the index of errors, lists find the errors
// of its deliveries: failed, canceled and pending ones.
func TestErrorsOfAnEarlierSchemaAreFound(t *testing.T) {
	t.Parallel()
	ctx, now, must := t.Context(), time.Now(), must(t)
	s := open(t, Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")})
	defer s.Close()
	k, err := s.CreateKey(ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: now})
	must(err)
	cb, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, now)
	must(err)
	var ids []callbackd.DeliveryID
	for i := range 5 {
		evs, err := s.Accept(ctx, store.Batch{Key: k.ID, At: now, Events: []store.NewEvent{{Type: callbackd.Complete, Session: fmt.Sprint("S", i), Data: []byte("{}")}}})
		must(err)
		ids = append(ids, callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID})
	}
	record := func(id callbackd.DeliveryID, n int, state callbackd.State, fault callbackd.Fault) {
		t.Helper()
		o := callbackd.Outcome{Delivery: callbackd.Delivery{ID: id, Attempts: n - 1}, Attempt: callbackd.Attempt{Number: n, Version: 1, Result: callbackd.Result{Fault: fault, StartedAt: now}, Decision: callbackd.Decision{State: state, Due: now}}}
		_, err := s.Record(ctx, &o)
		must(err)
	}
	record(ids[0], 1, callbackd.Failed, callbackd.FaultTLS)
	record(ids[1], 1, callbackd.Pending, callbackd.FaultTLS)
	record(ids[2], 1, callbackd.Pending, callbackd.FaultTLS)
	record(ids[2], 2, callbackd.Delivered, callbackd.NoFault)
	record(ids[3], 1, callbackd.Pending, callbackd.FaultDNS)
	err = s.change(ctx, false, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "TRUNCATE last_errors"); err != nil {
			return err
		}
		return core.FillLastErrors(seamTx{ctx, tx}, &dialect)
	})
	must(err)
	page, err := s.ListDeliveries(ctx, store.DeliveryQuery{Key: k.ID, Fault: callbackd.FaultTLS, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var listed []callbackd.DeliveryID
	for _, d := range page.Deliveries {
		listed = append(listed, d.ID)
	}
	if want := []callbackd.DeliveryID{ids[1], ids[0]}; !slices.Equal(listed, want) {
		t.Errorf("the list by error has %v, want %v", listed, want)
	}
}

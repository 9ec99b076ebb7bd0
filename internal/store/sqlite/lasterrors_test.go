package sqlite

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// After the upgrade of a database from before the index of errors, lists find the errors
// of its deliveries, both failed and pending ones.
func TestErrorsOfAnEarlierSchemaAreFound(t *testing.T) {
	dir, ctx, now := t.TempDir(), t.Context(), time.Now()
	s := open(t, Options{Dir: dir})
	k, err := s.CreateKey(ctx, callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	cb, _, err := s.CreateCallback(ctx, callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, now)
	if err != nil {
		t.Fatal(err)
	}
	record := func(id callbackd.DeliveryID, n int, state callbackd.State, fault callbackd.Fault) {
		t.Helper()
		o := callbackd.Outcome{Delivery: callbackd.Delivery{ID: id, Attempts: n - 1}, Attempt: callbackd.Attempt{Number: n, Version: 1, Result: callbackd.Result{Fault: fault, StartedAt: now}, Decision: callbackd.Decision{State: state, Due: now}}}
		if _, err := s.Record(ctx, &o); err != nil {
			t.Fatal(err)
		}
	}
	var ids []callbackd.DeliveryID
	for i := range 5 {
		evs, err := s.Accept(ctx, store.Batch{Key: k.ID, At: now, Events: []store.NewEvent{{Type: callbackd.Complete, Session: fmt.Sprint("S", i), Data: []byte("{}")}}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID})
	}
	record(ids[0], 1, callbackd.Failed, callbackd.FaultTLS)
	record(ids[1], 1, callbackd.Pending, callbackd.FaultTLS)
	record(ids[2], 1, callbackd.Pending, callbackd.FaultTLS)
	record(ids[2], 2, callbackd.Delivered, callbackd.NoFault)
	record(ids[3], 1, callbackd.Pending, callbackd.FaultDNS)
	s.Close()

	defer func(old []string) { steps = old }(steps)
	at := slices.Index(steps, schemaLastErrors)
	steps = steps[:at+1]
	d, err := openDB("file:" + filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.conn.Exec(fmt.Sprintf("DROP TABLE last_errors; DROP INDEX sessions_by_vin; PRAGMA user_version = %d", at)); err != nil {
		t.Fatal(err)
	}
	d.close()
	s = open(t, Options{Dir: dir})
	defer s.Close()
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

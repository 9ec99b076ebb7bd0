package api_test

import (
	"fmt"
	"strings"
	"testing"

	"callbackd/wire"
)

// A delivery that is sent again many times has an answer of a bounded size: its
// attempts come in pages, and a large body that they share once.
func TestALongStoryComesInPages(t *testing.T) { onBothStores(t, aLongStoryComesInPages) }

func aLongStoryComesInPages(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	data := `{"x":"` + strings.Repeat("x", 100_000) + `"}`
	id := s.publish("SESSION:COMPLETE", "S", data).ID
	recv.next()
	path := "/v1/deliveries/" + decode[wire.DeliveryList](s.call("GET", "/v1/deliveries", "").ok(200)).Data[0].ID
	if !strings.HasPrefix(path, "/v1/deliveries/dlv_"+strings.TrimPrefix(id, "evt_")) {
		t.Fatal(path)
	}
	read := func(query string) wire.Delivery {
		t.Helper()
		r := s.call("GET", path+query, "").ok(200)
		if len(r.body) > 200_000 {
			t.Errorf("an answer of %d bytes", len(r.body))
		}
		return decode[wire.Delivery](r)
	}
	const attempts = 60
	for i := 1; i < attempts; i++ {
		s.until("the attempt", func() bool { d := read(""); return d.Attempts == i && d.State == "delivered" })
		if r := s.call("POST", path+"/retry", "").ok(202); len(r.body) > 200_000 {
			t.Errorf("the answer to a retry has %d bytes", len(r.body))
		}
		recv.next()
	}
	s.until("the attempt", func() bool { return read("").Attempts == attempts })
	newest := read("")
	if n := len(newest.History); n != 50 || newest.Earlier != 11 || newest.History[0].Number != 11 || newest.History[49].Number != attempts {
		t.Fatalf("%d attempts, before %d", n, newest.Earlier)
	}
	if first := newest.History[0].Request; first.BodyOf != 0 || !strings.Contains(first.Body, "xxxx") {
		t.Errorf("the first attempt of a page has no body: %+v", first.BodyOf)
	}
	if next := newest.History[1].Request; next.BodyOf != 11 || next.Body != "" {
		t.Errorf("the second one: body of %d, %d bytes", next.BodyOf, len(next.Body))
	}
	oldest := read(fmt.Sprint("?before=", newest.Earlier))
	if n := len(oldest.History); n != 10 || oldest.Earlier != 0 || oldest.History[0].Number != 1 || oldest.Attempts != attempts {
		t.Errorf("%d attempts before, %d", n, oldest.Earlier)
	}
	s.call("GET", path+"?before=0", "").says(400, "before must be a whole number")
}

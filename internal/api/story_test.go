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
	equal(t, "before the newest page", newest.Earlier, 11)
	equal(t, "the attempts of the newest page", numbers(newest), upTo(11, attempts))
	wantBodyOnce(t, newest.History[0].Request, newest.History[1].Request)
	oldest := read(fmt.Sprint("?before=", newest.Earlier))
	equal(t, "before the oldest page", oldest.Earlier, 0)
	equal(t, "the attempts of the oldest page", numbers(oldest), upTo(1, 10))
	equal(t, "all attempts", oldest.Attempts, attempts)
	s.call("GET", path+"?before=0", "").says(400, "before must be a whole number")
}

// wantBodyOnce checks that the second request of a page refers to the first one's
// body.
func wantBodyOnce(t *testing.T, first, second wire.Request) {
	t.Helper()
	equal(t, "where the first body is", first.BodyOf, 0)
	contains(t, "the first body", first.Body, "xxxx")
	equal(t, "where the second body is", second.BodyOf, 11)
	equal(t, "the second body", second.Body, "")
}

// numbers returns the numbers of the attempts that are shown.
func numbers(d wire.Delivery) (out []int) {
	for _, a := range d.History {
		out = append(out, a.Number)
	}
	return out
}

// upTo returns the numbers from first to last.
func upTo(first, last int) (out []int) {
	for n := first; n <= last; n++ {
		out = append(out, n)
	}
	return out
}

package api_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

func TestAStoryHasEachEventWithItsDeliveries(t *testing.T) {
	onBothStores(t, aStoryHasEachEventWithItsDeliveries)
}

func aStoryHasEachEventWithItsDeliveries(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:STATUS_CHANGE", recv.url, "")
	s.register("SESSION:STATUS_CHANGE", "http://"+closedPort(t)+"/", `,"name":"dead"`)
	key := s.create("")
	s.step("POST", key, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	s.publish("SESSION:NOTE_INSERT", key, `{"note":{}}`)
	recv.next()
	var page wire.SessionEventList
	s.until("the delivery and the failure", func() bool {
		page = decode[wire.SessionEventList](s.call("GET", "/v1/sessions/"+key+"/events", "").ok(200))
		d := page.Data[0].Deliveries
		return d[0].State == "delivered" && d[1].Attempts > 0
	})
	equal(t, "the session", page.SessionKey, key)
	equal(t, "the next page", page.Next, (*string)(nil))
	equal(t, "the number of events", len(page.Data), 2)
	wantStarted(t, page.Data[0])
	equal(t, "the second event", page.Data[1].Event, "SESSION:NOTE_INSERT")
	equal(t, "its deliveries", len(page.Data[1].Deliveries), 0)
	s.wantPages(key, 1, 2)
	s.call("GET", "/v1/sessions/"+key+"/events?cursor=x", "").says(400, "Invalid cursor")
	s.call("GET", "/v1/sessions/"+key+"/events?state=x", "").says(400, `Unknown parameter "state"`)
	// A session that is stored elsewhere has a list of events too.
	s.publish("SESSION:COMPLETE", "elsewhere-1", `{}`)
	s.wantPages("elsewhere-1", 1)
}

// wantStarted checks the start of a session, which one callback got and the other
// did not.
func wantStarted(t *testing.T, ev wire.SessionEvent) {
	t.Helper()
	if want := regexp.MustCompile(`^\{"status":"STARTED","timestamp":` + stamp + `,"previous_status":"IDLE"\}$`); !want.Match(ev.Data) {
		t.Errorf("the data are %s, want %s", ev.Data, want)
	}
	if len(ev.Deliveries) != 2 {
		t.Fatalf("%d deliveries, want 2: %+v", len(ev.Deliveries), ev.Deliveries)
	}
	dead := ev.Deliveries[1]
	equal(t, "the callback", dead.CallbackName, "dead")
	equal(t, "its state", dead.State, "pending")
	if dead.NextAttempt == nil {
		t.Error("its next attempt has no time")
	}
}

// wantPages reads the events of a session page by page and checks their sequence
// numbers.
func (s *server) wantPages(key string, want ...int64) {
	s.t.Helper()
	var seqs []int64
	for query := "?limit=1"; query != ""; {
		page := decode[wire.SessionEventList](s.call("GET", "/v1/sessions/"+key+"/events"+query, "").ok(200))
		for _, ev := range page.Data {
			seqs = append(seqs, ev.Sequence)
		}
		if query = ""; page.Next != nil {
			query = "?limit=1&cursor=" + *page.Next
		}
	}
	equal(s.t, "the sequence numbers, page by page", seqs, want)
}

func TestFindingSessions(t *testing.T) { onBothStores(t, findingSessions) }

func findingSessions(t *testing.T, on func(*setup)) {
	s := start(t, on)
	var keys []string
	for i := range 7 {
		keys = append(keys, s.create(fmt.Sprintf(`{"vin":"JN1CV6AR9BM00000%d","options":{"reference":{"lead":"Lead-%d"}}}`, i, i)))
	}
	s.step("POST", keys[3], "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	find := func(query string, want ...string) {
		t.Helper()
		var got []string
		for cursor := ""; ; {
			l := decode[wire.SessionList](s.call("GET", "/v1/sessions?limit=2"+query+cursor, "").ok(200))
			for _, x := range l.Data {
				got = append(got, x.SessionKey)
			}
			if l.Next == nil {
				break
			}
			cursor = "&cursor=" + *l.Next
		}
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", query, got, want)
		}
	}
	find("", keys...)
	find("&status=STARTED", keys[3])
	find("&q=lead-5", keys[5])
	find("&q="+keys[2][4:], keys[2])
	find("&q=bm000006", keys[6])
	find("&q=nothing")
	find("&since=" + escape(time.Now().Add(time.Hour).Format(time.RFC3339)))
	find("&until="+escape(time.Now().Add(time.Hour).Format(time.RFC3339)), keys...)
	s.call("GET", "/v1/sessions?status=DONE", "").says(400, "status", "IDLE, STARTED, PROCESS")
	s.call("GET", "/v1/sessions?cursor=x", "").says(400, "Invalid cursor")
	s.call("GET", "/v1/sessions?state=x", "").says(400, `Unknown parameter "state". This call takes status, q, since`)
	s.as(s.newKey("acme", false)).call("GET", "/v1/sessions", "").is(200, `{"data":[],"next":null}`)
}

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
	d := page.Data[0].Deliveries
	if len(page.Data) != 2 || page.SessionKey != key || page.Next != nil || page.Data[1].Event != "SESSION:NOTE_INSERT" || len(page.Data[1].Deliveries) != 0 ||
		len(d) != 2 || d[1].CallbackName != "dead" || d[1].State != "pending" || d[1].NextAttempt == nil || !regexp.MustCompile(`^\{"status":"STARTED","timestamp":`+stamp+`,"previous_status":"IDLE"\}$`).Match(page.Data[0].Data) {
		t.Errorf("%+v", page)
	}
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
	if !slices.Equal(seqs, []int64{1, 2}) {
		t.Errorf("page by page %v", seqs)
	}
	s.call("GET", "/v1/sessions/"+key+"/events?cursor=x", "").says(400, "Invalid cursor")
	s.call("GET", "/v1/sessions/"+key+"/events?state=x", "").says(400, `Unknown parameter "state"`)
	// A session that is kept elsewhere has a story too.
	s.publish("SESSION:COMPLETE", "elsewhere-1", `{}`)
	if l := decode[wire.SessionEventList](s.call("GET", "/v1/sessions/elsewhere-1/events", "").ok(200)); len(l.Data) != 1 {
		t.Errorf("%+v", l)
	}
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

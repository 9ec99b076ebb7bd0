package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/wire"
)

// The demo fails when a callback got its events in another order, when a
// signature was wrong, and when an event came twice.
func TestDemoIsHonest(t *testing.T) {
	events := demoEvents()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(wire.DeliveryList{Data: make([]wire.Delivery, len(events))})
	}))
	defer server.Close()
	for _, tt := range []struct {
		got   []int64
		wrong []string
		want  string
	}{
		{[]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, nil, ""},
		{[]int64{12, 2, 4, 9, 10, 11, 3, 5, 6, 7, 8, 1}, nil, ""},
		{[]int64{1, 4, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12}, nil, "SESSION:STATUS_CHANGE came out of order"},
		{[]int64{1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, nil, "SESSION:STATUS_CHANGE came out of order"},
		{[]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, []string{"#1 was not signed rightly"}, "signed"},
	} {
		var out strings.Builder
		d := &demo{out: &out, start: time.Now(), events: events, got: tt.got, wrong: tt.wrong}
		err := d.verdict(t.Context(), &client.Client{Base: server.URL})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v %v: %v", tt.got, tt.wrong, err)
		}
		if done := strings.Contains(out.String(), "all 12 events were delivered"); done != (tt.want == "") {
			t.Errorf("%v: it says\n%s", tt.got, &out)
		}
	}
}

package browser

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/simulate"
	"callbackd/internal/store"

	"github.com/chromedp/chromedp"
)

var documents = flag.Bool("documents", false, "write the pictures of README and docs/console.md anew")

// A simulation fills the console, and the pictures of the documents are made
// from it. The sums of the hour before it are made up: a simulation without
// waiting takes a second.
func TestThePicturesOfTheDocuments(t *testing.T) {
	s := startSite(t)
	s.Stop()
	recv := newReceiver(t)
	random := rand.New(rand.NewPCG(7, 7))
	recv.Answers(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n%9 == 4 {
			http.Error(w, `{"error":"database is restarting"}`, http.StatusServiceUnavailable)
		}
	})
	s.lastHour(random)
	s.Start()
	ctx := context.Background()
	cl := s.Client(s.Key)
	for _, ev := range callbackd.EventTypes {
		_, err := cl.CreateCallback(ctx, client.NewCallback{Event: string(ev), URL: recv.URL + "/hook", Retry: []string{"0s", "1s", "1s", "2s", "2s"}, Headers: map[string]string{"Authorization": "Bearer receiver-secret"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := simulate.Run(ctx, cl, simulate.Options{Sessions: 12, Seed: 7, Odds: simulate.Odds{Reject: 0.1}}); err != nil {
		t.Fatal(err)
	}
	settled := func() bool {
		list, err := cl.Deliveries(ctx, map[string][]string{"state": {"pending"}})
		return err == nil && len(list.Data) == 0
	}
	s.Await(settled)

	b := s.browser(t)
	b.signIn(s.Key)
	if *documents {
		b.dir = filepath.Join("..", "..", "docs")
	}
	b.open("/console/")
	b.waits(`document.querySelectorAll("#volume, .chart rect").length > 20`)
	b.screen("console-overview")
	b.open("/console/deliveries?state=delivered&event=SESSION:STAGE_CHANGE")
	b.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll("tbody tr")].find((r) => /attempt [2-9]/.test(r.cells[4].textContent)).dataset.pressed = "1"`))
	b.press(`[data-pressed] .main-link`)
	b.theme("dark")
	b.waits(`document.querySelectorAll(".timeline li").length > 0`)
	b.screen("console-delivery")
	b.theme("light")
	b.device(true)
	b.open("/console/sessions")
	b.press("tbody .main-link")
	b.screen("console-session")
	b.clean()
	if !*documents {
		return
	}
	for _, name := range []string{"overview", "delivery", "session"} {
		if info, err := os.Stat(filepath.Join(b.dir, "console-"+name+".png")); err != nil || info.Size() > 200<<10 {
			t.Errorf("console-%s.png: %v, %v", name, info, err)
		}
	}
}

// lastHour makes up what happened in the hour before.
func (s *site) lastHour(r *rand.Rand) {
	s.T.Helper()
	st := s.Store(false)
	defer st.Close()
	at := time.Now().Truncate(time.Minute)
	var ts []store.MinuteCounters
	for ago := 60; ago > 0; ago-- {
		t := store.MinuteCounters{Callback: 1, Key: s.Key.ID, Minute: at.Add(-time.Duration(ago) * time.Minute)}
		t.Delivered = int64(180 + 40*r.Float64() + 60*float64(ago%20)/20)
		if ago > 20 && ago < 27 {
			t.Failed = int64(5 + 20*r.Float64())
			t.Faults = t.Failed * 3
		}
		t.Faults += int64(4 * r.Float64())
		t.Attempts = t.Delivered + t.Failed + t.Faults
		for range t.Delivered {
			t.Latency.Add(time.Duration((8 + 6*r.ExpFloat64()) * float64(time.Millisecond)))
		}
		if t.Faults > 4 {
			for range t.Faults {
				t.Latency.Add(time.Duration(200+300*r.Float64()) * time.Millisecond)
			}
		}
		ts = append(ts, t)
	}
	if err := st.AddCounters(context.Background(), ts); err != nil {
		s.T.Fatal(err)
	}
}

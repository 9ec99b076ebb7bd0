package obs

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
)

// scrape returns what the metrics say now.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// aStore is a store with these callbacks in trouble.
func aStore(troubled ...callbackd.Trouble) Store {
	counts := callbackd.NewDeliveryCounts()
	counts.Accepted[callbackd.AcceptedEvent], counts.Ended[callbackd.Failed] = 7, 3
	return Store{
		Figures: func(context.Context) (callbackd.Figures, error) {
			return callbackd.Figures{
				Counts: counts, Database: 8192, Local: &callbackd.LocalFigures{Log: 4096, DiskFree: 1 << 40, Buffer: 5},
				Incidents: callbackd.IncidentCounts{Open: 6, Mails: 5, MailsFailing: 2},
				Callbacks: []callbackd.CallbackCount{{N: 9}, {Failing: true, Paused: callbackd.PausedGone, N: 2}},
			}, nil
		},
		Backlogs: func(_ context.Context, at time.Time) (callbackd.Backlogs, error) {
			return callbackd.Backlogs{Pending: 4, OldestDue: at.Add(-time.Minute), Troubled: troubled}, nil
		},
		Reports: func() bool { return true },
	}
}

func TestStoreMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		m.WatchStore(aStore(callbackd.Trouble{
			CallbackBacklog: callbackd.CallbackBacklog{ID: 17, Pending: 3, OldestDue: time.Now().Add(-30 * time.Second)},
			FailingSince:    time.Now().Add(-2 * time.Minute), Paused: callbackd.PausedNoAnswer,
			Callback: &callbackd.Callback{Event: callbackd.Complete, Name: "or\"der\n\u202e\xff"}, KeyName: strings.Repeat("k", 100),
		}))
		text := scrape(t, m)
		of := `{callback="17",event="SESSION:COMPLETE",key="` + strings.Repeat("k", 64) + `…",name="or\"der\n\ufffd\ufffd"`
		of = strings.ReplaceAll(of, `\ufffd`, "\ufffd")
		for _, want := range []string{
			`callbackd_store_deliveries_accepted_total{reason="event"} 7`,
			`callbackd_store_deliveries_accepted_total{reason="again"} 0`,
			`callbackd_store_deliveries_ended_total{state="failed"} 3`,
			`callbackd_store_deliveries_ended_total{state="delivered"} 0`,
			`callbackd_incidents_open 6`,
			`callbackd_notice_mails_waiting{failed="yes"} 2`,
			`callbackd_notice_mails_waiting{failed="no"} 3`,
			`callbackd_store_deliveries_pending 4`,
			`callbackd_oldest_due_seconds 60`,
			`callbackd_callbacks{health="working",paused="no"} 9`,
			`callbackd_callbacks{health="failing",paused="gone"} 2`,
			`callbackd_callbacks{health="failing",paused="no"} 0`,
			`callbackd_database_bytes 8192`,
			`callbackd_database_log_bytes 4096`,
			`callbackd_disk_free_bytes 1.099511627776e+12`,
			`callbackd_buffer_events 5`,
			`callbackd_figures_age_seconds{figures="store"} 0`,
			`callbackd_callback_pending` + of + `} 3`,
			`callbackd_callback_oldest_due_seconds` + of + `} 30`,
			`callbackd_callback_failing_seconds` + of + `} 120`,
			`callbackd_callback_paused` + of + `,reason="no_success"} 1`,
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("no series %s in\n%s", want, text)
			}
		}
	})
}

// Of several nodes one reports the store.
func TestAnotherNodeReportsTheStore(t *testing.T) {
	m, s := New(), aStore()
	s.Reports = func() bool { return false }
	m.WatchStore(s)
	if text := scrape(t, m); strings.Contains(text, "callbackd_store_deliveries") || strings.Contains(text, "callbackd_callbacks{") {
		t.Error(text)
	}
}

// A store that takes long to read is read for a small share of the time only, and a scrape
// does not wait for it for long.
func TestASlowStoreIsReadRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := New(), aStore()
		reads, fails := 0, false
		s.Backlogs = func(_ context.Context, at time.Time) (callbackd.Backlogs, error) {
			reads++
			n := int64(reads)
			time.Sleep(6 * time.Second)
			if fails {
				return callbackd.Backlogs{}, errors.New("away")
			}
			return callbackd.Backlogs{Pending: n}, nil
		}
		m.WatchStore(s)
		start := time.Now()
		if text := scrape(t, m); strings.Contains(text, "callbackd_store_deliveries_pending") {
			t.Error("pending deliveries are served before they were counted")
		}
		if took := time.Since(start); took != readingPatience {
			t.Errorf("the scrape waited for %v", took)
		}
		for range 40 { // ten minutes
			time.Sleep(15 * time.Second)
			if text := scrape(t, m); !strings.Contains(text, "callbackd_store_deliveries_pending ") {
				t.Error("pending deliveries are not served any more")
			}
		}
		if reads != 2 {
			t.Errorf("the store was read %d times, want 2: after the second 306, and 0", reads)
		}
		fails = true
		time.Sleep(10 * time.Minute)
		text := scrape(t, m)
		if !strings.Contains(text, "callbackd_store_deliveries_pending 2\n") {
			t.Error("a read that fails changed what is served")
		}
		if strings.Contains(text, `callbackd_figures_age_seconds{figures="backlogs"} 0`+"\n") {
			t.Error("the age does not show that the last read failed")
		}
		time.Sleep(10 * time.Second) // for the read to end
	})
}

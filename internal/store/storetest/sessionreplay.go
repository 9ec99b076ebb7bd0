package storetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// replayed is what the events of a session say about it.
type replayed struct {
	Status  string
	Photos  map[int]string // url and verdict by code
	Notes   []wire.Note
	Phone   string
	SMS     string
	Results string
}

func (r *replayed) take(t testing.TB, ev *callbackd.Event) {
	t.Helper()
	read := func(out any) {
		if err := json.Unmarshal(ev.Data, out); err != nil {
			t.Fatal(err)
		}
	}
	switch ev.Type {
	case callbackd.StatusChange:
		var d wire.StatusChange
		if read(&d); d.PreviousStatus != r.Status {
			t.Errorf("event %d changes the status from %s; want %s", ev.Sequence, d.PreviousStatus, r.Status)
		}
		r.Status = d.Status
	case callbackd.StageChange:
		var d wire.StageChange
		read(&d)
		r.Photos[d.PhotoCode] = d.PhotoURL + d.Message + " " + d.PhotoStatus
	case callbackd.NoteInsert:
		var d wire.NoteInsert
		read(&d)
		r.Notes = append(r.Notes, d.Note)
	case callbackd.SMSProcess:
		var d wire.SMSProcess
		read(&d)
		r.Phone, r.SMS = d.Phone, d.Status
	case callbackd.Complete:
		r.Results = string(ev.Data)
	}
}

// sessionReplay changes sessions at random from many goroutines. The fired
// events, replayed in sequence, give the session's final state exactly.
func (s *suite) sessionReplay() {
	const sessions, workers, steps = 8, 8, 60
	var made []*callbackd.Session
	for range sessions {
		made = append(made, s.newSession(s.key, nil))
	}
	var clock sync.Mutex
	now := s.at.UTC()
	tick := func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		now = now.Add(time.Millisecond)
		return now
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for range steps {
				for range 3 { // mostly photos, so that sessions make progress
					s.randomStep(r, made[r.IntN(len(made))], tick(), true)
				}
				s.randomStep(r, made[r.IntN(len(made))], tick(), false)
			}
		})
	}
	wg.Wait()
	reached := map[callbackd.SessionStatus]bool{}
	for _, x := range made {
		final, err := s.Session(s.ctx(), x.Key, x.SessionKey)
		s.must(err)
		reached[final.Status] = true
		s.replayed(final)
	}
	if len(reached) < 2 {
		s.Errorf("the sessions ended in %v; want several states, otherwise the test proves nothing", slices.Collect(maps.Keys(reached)))
	}
}

// randomStep makes a random change of a session. Most changes are refused.
func (s *suite) randomStep(r *rand.Rand, x *callbackd.Session, now time.Time, onlyPhotos bool) {
	code := callbackd.PhotoSteps[r.IntN(len(callbackd.PhotoSteps))].Code
	p := callbackd.Photo{Code: code, URL: fmt.Sprintf("https://p.example/%d", r.Uint32()), Approved: r.IntN(4) > 0}
	if !p.Approved {
		p.Reason = fmt.Sprint("reason ", r.IntN(9))
	}
	n, op := r.Uint32(), r.IntN(7)
	if onlyPhotos {
		op = 1
	}
	rule := func(x *callbackd.Session) ([]callbackd.Fired, error) {
		switch op {
		case 0:
			return x.Start(now)
		case 2:
			return x.AddNote(callbackd.Note{Title: fmt.Sprint("note ", n), InsertedBy: "w"}, now)
		case 3:
			return x.ReportSMS(callbackd.SMSReport{Phone: fmt.Sprint("+", n), State: []callbackd.SMSState{callbackd.SMSSuccess, callbackd.SMSError}[n%2]}, now)
		case 4:
			return x.PutResults(fmt.Appendf(nil, `{"grade":%d}`, n%9), nil, now)
		case 5:
			return x.Complete(now)
		case 6:
			if n%7 == 0 {
				return x.Invalidate("unfit", now)
			}
			return x.Update(callbackd.SessionUpdate{Language: ptr("FR")}, "", now)
		}
		return x.AddPhoto(p, now)
	}
	_, _, err := session.Change(s.ctx(), s.Store, x.Key, x.SessionKey, now, rule)
	if k := callbackd.KindOf(err); err != nil && k != callbackd.KindConflict && k != callbackd.KindInvalid {
		s.Error(err)
	}
}

func ptr[T any](v T) *T { return &v }

func (s *suite) replayed(final *callbackd.Session) {
	s.Helper()
	got := replayed{Status: "IDLE", Photos: map[int]string{}, Phone: "+15555550100", SMS: "waiting"}
	for i, ev := range s.eventsOfSession(store.SessionEventQuery{Key: final.Key, Session: final.SessionKey, Limit: store.MaxPage}) {
		if ev.Sequence != int64(i+1) {
			s.Fatalf("sequence %d in place %d; want no gap and no repeat", ev.Sequence, i+1)
		}
		got.take(s, ev.Event)
	}
	want := replayed{Status: string(final.Status), Photos: map[int]string{}, Phone: final.SMS.To, SMS: string(final.SMS.State)}
	for _, p := range final.Photos {
		want.Photos[p.Code] = p.URL + p.Typed + " " + p.Verdict()
	}
	notes, err := s.SessionNotes(s.ctx(), final.Key, final.SessionKey)
	s.must(err)
	for _, n := range notes {
		want.Notes = append(want.Notes, view.Note(n))
		want.Notes[len(want.Notes)-1].InsertedAt = wire.Timestamp(n.InsertedAt.Truncate(time.Second))
	}
	if final.Status == callbackd.StatusComplete {
		body, err := session.Data(final, &callbackd.Fired{Type: callbackd.Complete})
		s.must(err)
		want.Results = string(body)
	}
	s.same("what the events say of the session", got, want)
}

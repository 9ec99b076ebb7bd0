package callbackd_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
)

const week = 7 * 24 * time.Hour

// sessionIn makes a session and leads it to a status by the rules.
func sessionIn(t *testing.T, st callbackd.SessionStatus) *callbackd.Session {
	t.Helper()
	s := &callbackd.Session{SessionKey: "ACM-0123456789", Status: callbackd.StatusIdle, Theme: "PRO", Language: "EN", SMS: callbackd.SMS{To: "+1", State: callbackd.SMSWaiting},
		Reference: []byte(`{"lead":1}`), CreatedAt: t0, UpdatedAt: t0, ExpiresAt: t0.Add(week)}
	if st == callbackd.StatusIdle {
		return s
	}
	done(s.Start(t0))
	for _, step := range callbackd.PhotoSteps {
		if s.Status == st {
			return s
		}
		done(s.AddPhoto(photo(step.Code, true), t0.Add(time.Minute)))
		if st == callbackd.StatusInvalid {
			done(s.Invalidate("another car", t0))
			return s
		}
		if st == callbackd.StatusExpired {
			s.Advance(s.ExpiresAt)
			return s
		}
	}
	if st == callbackd.StatusQCPassed {
		return s
	}
	done(s.PutResults([]byte(`{"a":1}`), nil, t0.Add(2*time.Minute)))
	if st == callbackd.StatusComplete {
		done(s.Complete(t0.Add(3 * time.Minute)))
	}
	if s.Status != st {
		t.Fatalf("%s was not reached: %s", st, s.Status)
	}
	return s
}

// done is what a step fired that cannot fail here.
func done(fired []callbackd.Fired, err error) []callbackd.Fired {
	if err != nil {
		panic(err)
	}
	return fired
}

func photo(code int, approved bool) callbackd.Photo {
	p := callbackd.Photo{Code: code, URL: fmt.Sprintf("https://photos.example/%d.jpg", code), Approved: approved}
	if !approved {
		p.Reason = "Wrong View"
	}
	return p
}

func ptr[T any](v T) *T { return &v }

// operations is each row of the table in docs/sessions.md: how the session is
// prepared, and what is done.
var operations = map[string]func(t *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error){
	"start": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.Start(now)
	},
	"photos, more are needed": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.AddPhoto(photo(4, true), now)
	},
	"photos, the last needed": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		for s.Status == callbackd.StatusProcess && len(s.Missing()) > 1 {
			done(s.AddPhoto(photo(s.Missing()[0].Code, true), t0))
		}
		code := 6
		if m := s.Missing(); len(m) == 1 {
			code = m[0].Code
		}
		return s.AddPhoto(photo(code, true), now)
	},
	"notes": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.AddNote(callbackd.Note{Title: "t"}, now)
	},
	"sms": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.ReportSMS(callbackd.SMSReport{State: callbackd.SMSError}, now)
	},
	"results": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.PutResults([]byte("{}"), nil, now)
	},
	"complete": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.Complete(now)
	},
	"invalidate": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.Invalidate("unfit", now)
	},
	"PUT redirect_url, language": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.Update(callbackd.SessionUpdate{RedirectURL: ptr("https://x.example/"), Language: ptr("FR")}, "", now)
	},
	"PUT theme": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.Update(callbackd.SessionUpdate{Theme: ptr("LITE")}, "", now)
	},
	"PUT sms.to, the SMS has failed": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		s.SMS.State = callbackd.SMSError
		return s.Update(callbackd.SessionUpdate{SMSTo: ptr("+2")}, "", now)
	},
	"PUT sms.to, it has not": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.Update(callbackd.SessionUpdate{SMSTo: ptr("+2")}, "", now)
	},
	"resend, the first time": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.Resend("", "", now)
	},
	"resend, again": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		s.SMS.Resent = true
		return s.Resend("+3", "", now)
	},
	"DELETE": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return nil, s.CheckDelete(now)
	},
	"the time frame passes": func(_ *testing.T, s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		s.Reference = nil
		fired, changed := s.Advance(s.ExpiresAt)
		if changed != (s.Status == callbackd.StatusExpired && len(fired) > 0) {
			return fired, fmt.Errorf("changed is %v", changed)
		}
		return fired, nil
	},
}

// cell runs one operation in one status and says what the table should.
func cell(t *testing.T, row string, st callbackd.SessionStatus) string {
	s := sessionIn(t, st)
	fired, err := operations[row](t, s, t0.Add(5*time.Minute))
	switch {
	case callbackd.KindOf(err) == callbackd.KindConflict:
		return "409"
	case callbackd.KindOf(err) == callbackd.KindInvalid:
		return "400"
	case err != nil:
		t.Fatal(err)
	case row == "DELETE":
		return "removed"
	}
	var moves []callbackd.Fired
	for _, f := range fired {
		if f.Type == callbackd.StatusChange {
			moves = append(moves, f)
		}
	}
	switch {
	case len(moves) == 0 && s.Status == st:
		return "stays"
	case len(moves) == 1 && moves[0].From == st && moves[0].To == s.Status && s.Status != st:
		return "→ " + string(s.Status)
	}
	t.Fatalf("%s in %s: %s, fired %+v", row, st, s.Status, fired)
	return ""
}

func TestSessionsFollowTheirTable(t *testing.T) {
	doc, err := os.ReadFile("docs/sessions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "## What may be done when")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := 0
	moves := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 1+len(callbackd.SessionStatuses) || strings.HasPrefix(cells[0], "---") {
			continue
		}
		row := strings.TrimSpace(cells[0])
		if row == "operation" {
			for i, st := range callbackd.SessionStatuses {
				if strings.TrimSpace(cells[1+i]) != string(st) {
					t.Fatalf("column %d is %s, want %s", i, cells[1+i], st)
				}
			}
			continue
		}
		if operations[row] == nil {
			t.Fatalf("the table has a row %q, and no operation is known by that name", row)
		}
		rows++
		for i, st := range callbackd.SessionStatuses {
			want := strings.TrimSpace(cells[1+i])
			if want == "–" {
				if s := sessionIn(t, st); len(s.Missing()) < 2 {
					t.Errorf("%s in %s is said not to occur, but %v is missing", row, st, s.Missing())
				}
				continue
			}
			if got := cell(t, row, st); got != want {
				t.Errorf("%s in %s: %s, the table says %s", row, st, got, want)
			}
			if to, ok := strings.CutPrefix(want, "→ "); ok {
				moves[string(st)+" --> "+to] = true
			}
		}
	}
	if rows != len(operations) {
		t.Errorf("%d rows for %d operations", rows, len(operations))
	}
	// The picture has the same moves.
	drawn := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ +(\S+ --> \S+): \S+$`).FindAllStringSubmatch(string(doc), -1) {
		drawn[m[1]] = true
	}
	if !reflect.DeepEqual(drawn, moves) {
		t.Errorf("the picture has %v, the table %v", drawn, moves)
	}
}

func TestARefusedOperationChangesNothing(t *testing.T) {
	for row, op := range operations {
		for _, st := range callbackd.SessionStatuses {
			if strings.Contains(row, "again") || strings.Contains(row, "failed") { // prepared in place
				continue
			}
			s := sessionIn(t, st)
			before := *s
			if _, err := op(t, s, t0.Add(time.Hour)); err != nil && !reflect.DeepEqual(before, *s) {
				t.Errorf("%s in %s left %+v", row, st, *s)
			}
		}
	}
}

func TestASessionWhoseTimeFramePassedIsRefusedBeforeItIsWritten(t *testing.T) {
	for _, st := range []callbackd.SessionStatus{callbackd.StatusIdle, callbackd.StatusStarted, callbackd.StatusProcess} {
		for row, op := range operations {
			s := sessionIn(t, st)
			if _, err := op(t, s, s.ExpiresAt); err == nil && row != "the time frame passes" {
				t.Errorf("%s was done in %s after the time frame", row, st)
			}
		}
		if s := sessionIn(t, st); s.Due() != s.ExpiresAt {
			t.Errorf("%s is due at %v", st, s.Due())
		}
	}
}

func TestPhotosMoveTheSession(t *testing.T) {
	s := sessionIn(t, callbackd.StatusStarted)
	types := func(fired []callbackd.Fired) (out []callbackd.EventType) {
		for _, f := range fired {
			out = append(out, f.Type)
		}
		return out
	}
	at := t0
	add := func(p callbackd.Photo, want ...callbackd.EventType) {
		t.Helper()
		at = at.Add(time.Second)
		if got := types(done(s.AddPhoto(p, at))); !slices.Equal(got, want) {
			t.Errorf("photo %d fired %v, want %v", p.Code, got, want)
		}
	}
	add(photo(4, false), callbackd.StageChange, callbackd.StatusChange)
	if s.Photos[0].Verdict() != "REJECTED: Wrong View" {
		t.Errorf("verdict %q", s.Photos[0].Verdict())
	}
	add(callbackd.Photo{Code: 3, Typed: "100,945", Approved: true}, callbackd.StageChange)
	add(callbackd.Photo{Code: 1, Typed: "JN1CV6AR9BM123456", Approved: true}, callbackd.StageChange)
	if s.Vehicle.VIN != "JN1CV6AR9BM123456" || s.Vehicle.OdomReading != "100,945" {
		t.Errorf("typed values: %+v", s.Vehicle)
	}
	for _, step := range callbackd.PhotoSteps {
		if step.Code != 1 && step.Code != 3 && step.Code != 4 {
			add(photo(step.Code, true), callbackd.StageChange)
		}
	}
	first := s.Photos[slices.IndexFunc(s.Photos, func(p callbackd.Photo) bool { return p.Code == 4 })]
	shared := s.Photos
	add(photo(4, true), callbackd.StageChange, callbackd.StatusChange)
	if s.Status != callbackd.StatusQCPassed {
		t.Errorf("the status is %s, want %s", s.Status, callbackd.StatusQCPassed)
	}
	if s.CapturedAt != at {
		t.Errorf("the session was captured at %v, want %v", s.CapturedAt, at)
	}
	if n := len(s.Photos); n != 13 {
		t.Errorf("%d photos, want 13", n)
	}
	for i, p := range s.Photos {
		if p.Code != callbackd.PhotoSteps[i].Code {
			t.Errorf("photo %d is in place %d", p.Code, i)
		}
		if p.Code != 4 {
			continue
		}
		if p.CreatedAt != first.CreatedAt {
			t.Errorf("the recapture was created at %v, want %v as the first photo", p.CreatedAt, first.CreatedAt)
		}
		if p.UpdatedAt != at {
			t.Errorf("the recapture was updated at %v, want %v", p.UpdatedAt, at)
		}
		if !p.Approved {
			t.Error("the recapture is not approved")
		}
	}
	if shared[slices.IndexFunc(shared, func(p callbackd.Photo) bool { return p.Code == 4 })].Approved {
		t.Error("a slice that a copy may share was changed in place")
	}
}

func TestAVINFromTheStartNeedsNoPhoto(t *testing.T) {
	s := sessionIn(t, callbackd.StatusStarted)
	s.Vehicle.VIN = "JN1CV6AR9BMXXXXXX"
	if m := s.Missing(); len(m) != 12 || m[0].Label != "Interior" {
		t.Errorf("missing %v", m)
	}
	done(s.AddPhoto(photo(1, false), t0))
	if m := s.Missing(); len(m) != 13 {
		t.Errorf("a rejected photo of the VIN counts: missing %v", m)
	}
}

func TestReferenceGoesOnceADayAfterCompletion(t *testing.T) {
	s := sessionIn(t, callbackd.StatusComplete)
	due := s.Due()
	if due != s.EndedAt.Add(24*time.Hour) {
		t.Fatalf("due at %v", due)
	}
	if _, changed := s.Advance(due.Add(-1)); changed || s.Reference == nil {
		t.Error("gone too early")
	}
	fired, changed := s.Advance(due)
	if !changed || fired != nil {
		t.Errorf("changed is %v and %v is fired; want a change without an event", changed, fired)
	}
	if s.Reference != nil {
		t.Errorf("the reference is %s, want none", s.Reference)
	}
	if due := s.Due(); !due.IsZero() {
		t.Errorf("the session is due at %v, want never", due)
	}
	if _, changed := s.Advance(due.Add(week)); changed {
		t.Error("twice")
	}
}

func TestAClockThatGoesBackMakesNoNegativeDurations(t *testing.T) {
	s := sessionIn(t, callbackd.StatusConfirm)
	done(s.Complete(t0.Add(-time.Hour)))
	if s.CapturedAt.Before(s.StartedAt) {
		t.Errorf("captured at %v, before the start at %v", s.CapturedAt, s.StartedAt)
	}
	if s.EndedAt.Before(s.CapturedAt) {
		t.Errorf("ended at %v, before the capture at %v", s.EndedAt, s.CapturedAt)
	}
	if s.UpdatedAt.Before(s.EndedAt) {
		t.Errorf("updated at %v, before the end at %v", s.UpdatedAt, s.EndedAt)
	}
}

func TestAConflictSaysWhatIsPossible(t *testing.T) {
	_, err := sessionIn(t, callbackd.StatusProcess).Complete(t0)
	if want := "Session ACM-0123456789 is PROCESS: complete is not possible; possible now: photos, notes, sms, invalidate."; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// Who asks for the SMS with the link asks the platform for it: an event says to
// whom it goes and what it holds.
func TestAskingForTheSMSIsAnEvent(t *testing.T) {
	const link = "https://acme.capture.example/ACM-0123456789"
	s := &callbackd.Session{SessionKey: "ACM-0123456789", Status: callbackd.StatusIdle, ExpiresAt: t0.Add(time.Hour), FirstName: "Jane", LastName: "Smith"}
	if fired := s.Created(link); fired != nil || s.SMS.State != callbackd.SMSNone {
		t.Errorf("without a number: %+v, %+v", fired, s.SMS)
	}
	want := func(what string, fired []callbackd.Fired, err error, phone, name string) {
		t.Helper()
		if err != nil || len(fired) != 1 {
			t.Fatalf("%s: %+v, %v; want one event", what, fired, err)
		}
		if fired[0].Type != callbackd.SMSRequested {
			t.Errorf("%s: the event is %s", what, fired[0].Type)
		}
		if request := (callbackd.SMSRequest{Phone: phone, Name: name, Link: link}); fired[0].Request != request {
			t.Errorf("%s: the request is %+v, want %+v", what, fired[0].Request, request)
		}
		if s.SMS.State != callbackd.SMSWaiting || s.SMS.To != phone {
			t.Errorf("%s: the SMS is %+v, want it waiting for %s", what, s.SMS, phone)
		}
	}
	s.SMS.To = "+1"
	want("created", s.Created(link), nil, "+1", "Jane Smith")
	s.SMS.State = callbackd.SMSError
	fired, err := s.Update(callbackd.SessionUpdate{SMSTo: ptr("+1"), Language: ptr("FR")}, link, t0)
	if err != nil || fired != nil {
		t.Errorf("the same number: %+v, %v; want no event", fired, err)
	}
	if s.SMS.State != callbackd.SMSError {
		t.Errorf("the same number: the state is %v, want that of a failed SMS", s.SMS.State)
	}
	fired, err = s.Update(callbackd.SessionUpdate{SMSTo: ptr("+2")}, link, t0)
	want("a new number", fired, err, "+2", "Jane Smith")
	s.SMS.State = callbackd.SMSError
	fired, err = s.Update(callbackd.SessionUpdate{SMSTo: ptr("+2"), SMSToName: ptr("Nobody")}, link, t0)
	if err != nil || fired != nil {
		t.Errorf("a name without a new number: %+v, %v; want no event", fired, err)
	}
	if s.SMS.ToName != "" {
		t.Errorf("a name without a new number: the name is %q, want none", s.SMS.ToName)
	}
	fired, err = s.Update(callbackd.SessionUpdate{SMSTo: ptr("+5"), SMSToName: ptr("Ann")}, link, t0)
	want("a new number of somebody else", fired, err, "+5", "Ann")
	s.SMS.State = callbackd.SMSError
	fired, err = s.Update(callbackd.SessionUpdate{SMSTo: ptr("+2"), SMSToName: ptr("")}, link, t0)
	want("a new number of the contact", fired, err, "+2", "Jane Smith")
	s.SMS.ToName = "Joe"
	fired, err = s.Resend("", link, t0)
	want("again", fired, err, "+2", "Joe")
	if fired, err = s.Resend("+3", link, t0); err == nil || fired != nil {
		t.Errorf("twice: %+v, %v", fired, err)
	}
}

func TestSessionKeys(t *testing.T) {
	for account, letters := range map[string]string{"acme": "ACM", "a1-b": "ABX", "": "XXX", "Žluť": "LUX", "x{y}z": "XYZ"} {
		for range 50 {
			k := callbackd.NewSessionKey(account)
			if !callbackd.IsSessionKey(k) {
				t.Fatalf("%q for %q is no session key", k, account)
			}
			if !strings.HasPrefix(k, letters+"-") {
				t.Fatalf("%q for %q does not begin with %s-", k, account, letters)
			}
			if !regexp.MustCompile(`^[A-Z]{3}-[A-Z0-9]{10}$`).MatchString(k) {
				t.Fatalf("%q for %q has another form", k, account)
			}
		}
	}
	for _, k := range []string{"ABC-0123456789", "ABCD-A1B2C3D4E5"} {
		if !callbackd.IsSessionKey(k) {
			t.Errorf("%q is not taken for a session key", k)
		}
	}
	for _, k := range []string{"", "-0123456789", "AB-0123456789", "ABCDE-0123456789", "ABC-01234-5678", "ABC0123456789", "ABC-123456789", "ABC-12345678901", "AB1-0123456789", "ABC_0123456789", "abc-0123456789", "ABC-012345678é"} {
		if callbackd.IsSessionKey(k) {
			t.Errorf("%q is taken for a session key", k)
		}
	}
}

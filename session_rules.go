package callbackd

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Operation is what can be done to a session, in the word its path ends with.
type Operation string

// The operations: the platform's, the client's, and the one that time does.
const (
	OpStart      Operation = "start"
	OpPhotos     Operation = "photos"
	OpNotes      Operation = "notes"
	OpSMS        Operation = "sms"
	OpResults    Operation = "results"
	OpComplete   Operation = "complete"
	OpInvalidate Operation = "invalidate"
	OpUpdate     Operation = "update" // redirect_url and language
	OpTheme      Operation = "theme"
	OpSMSTo      Operation = "sms.to"
	OpResend     Operation = "resend"
	OpDelete     Operation = "delete"
	OpExpire     Operation = "expire"
)

// platform is the operations an inspection goes on with; a conflict lists
// those that are possible.
var platform = []Operation{OpStart, OpPhotos, OpNotes, OpSMS, OpResults, OpComplete, OpInvalidate}

// from is the one table of what may be done in which status.
var from = map[Operation][]SessionStatus{
	OpStart:      {StatusIdle},
	OpPhotos:     {StatusStarted, StatusProcess},
	OpNotes:      {StatusIdle, StatusStarted, StatusProcess, StatusQCPassed, StatusConfirm},
	OpSMS:        {StatusIdle, StatusStarted, StatusProcess, StatusQCPassed, StatusConfirm},
	OpResults:    {StatusQCPassed, StatusConfirm},
	OpComplete:   {StatusConfirm},
	OpInvalidate: {StatusProcess, StatusQCPassed, StatusConfirm},
	OpUpdate:     {StatusIdle, StatusStarted, StatusProcess, StatusQCPassed, StatusConfirm},
	OpTheme:      {StatusIdle},
	OpSMSTo:      {StatusIdle},
	OpResend:     {StatusIdle, StatusStarted, StatusProcess, StatusQCPassed, StatusConfirm},
	OpDelete:     {StatusIdle},
	OpExpire:     {StatusIdle, StatusStarted, StatusProcess},
}

// AllowedIn tells whether the operation is possible in a status. An operation
// may have conditions besides: its function says which.
func (o Operation) AllowedIn(st SessionStatus) bool { return slices.Contains(from[o], st) }

// Fired is an event that a change of a session fires; Type says which of the
// other members counts. COMPLETE carries the session as it is after the
// change and is always the last.
type Fired struct {
	Type     EventType
	From, To SessionStatus // StatusChange
	Reason   string        // StatusChange to INVALID
	Photo    Photo         // StageChange
	Note     Note          // NoteInsert
	SMS      SMSReport     // SMSProcess
	Request  SMSRequest    // SMSRequested
}

// SMSReport is what the platform tells of an SMS.
type SMSReport struct {
	Phone   string // empty: the session's
	State   SMSState
	Message string
}

// SMSRequest is what the platform needs to send the SMS that somebody asked for.
type SMSRequest struct {
	Phone string
	Name  string // empty when it is not known
	Link  string // to the capture pages; empty when there is none
}

// Each rule below changes the session it is called on and returns the events
// the change fires, in order; with an error the session is as it was.

// StatusAt is the status that counts at now: a session whose time frame has
// passed is EXPIRED, whether that has been written yet or not.
func (s *Session) StatusAt(now time.Time) SessionStatus {
	if OpExpire.AllowedIn(s.Status) && !now.Before(s.ExpiresAt) {
		return StatusExpired
	}
	return s.Status
}

// check refuses an operation that the status does not allow.
func (s *Session) check(o Operation, now time.Time) error {
	status := s.StatusAt(now)
	if o.AllowedIn(status) {
		return nil
	}
	var can []string
	for _, p := range platform {
		if p.AllowedIn(status) {
			can = append(can, string(p))
		}
	}
	if can == nil {
		return Errorf(KindConflict, "Session %s is %s: %s is not possible; it has ended and nothing changes it any more.", s.SessionKey, status, o)
	}
	return Errorf(KindConflict, "Session %s is %s: %s is not possible; possible now: %s.", s.SessionKey, status, o, strings.Join(can, ", "))
}

// touch marks a change. A clock that went back does not take the session
// along, so that no duration is negative.
func (s *Session) touch(now time.Time) {
	if now.After(s.UpdatedAt) {
		s.UpdatedAt = now
	}
}

// move changes the status.
func (s *Session) move(to SessionStatus) Fired {
	f := Fired{Type: StatusChange, From: s.Status, To: to}
	s.Status = to
	if to.Final() {
		s.EndedAt = s.UpdatedAt
	}
	return f
}

// Start: the user pressed start.
func (s *Session) Start(now time.Time) ([]Fired, error) {
	if err := s.check(OpStart, now); err != nil {
		return nil, err
	}
	s.touch(now)
	s.StartedAt = s.UpdatedAt
	return []Fired{s.move(StatusStarted)}, nil
}

// AddPhoto takes a capture, or a typed value for a step that may be typed. It
// replaces an earlier one of the step. The first moves the session to
// PROCESS, the one that leaves nothing to capture to QC_PASSED.
func (s *Session) AddPhoto(p Photo, now time.Time) ([]Fired, error) {
	if err := s.check(OpPhotos, now); err != nil {
		return nil, err
	}
	s.touch(now)
	p.CreatedAt, p.UpdatedAt = s.UpdatedAt, s.UpdatedAt
	rank := func(code int) int {
		return slices.IndexFunc(PhotoSteps, func(st PhotoStep) bool { return st.Code == code })
	}
	s.Photos = slices.Clone(s.Photos)
	i, found := slices.BinarySearchFunc(s.Photos, rank(p.Code), func(q Photo, r int) int { return rank(q.Code) - r })
	if found {
		p.CreatedAt = s.Photos[i].CreatedAt
		s.Photos[i] = p
	} else {
		s.Photos = slices.Insert(s.Photos, i, p)
	}
	switch {
	case p.Typed != "" && p.Code == StepVIN:
		s.Vehicle.VIN = p.Typed
	case p.Typed != "" && p.Code == StepCluster:
		s.Vehicle.OdomReading = p.Typed
	}
	fired := []Fired{{Type: StageChange, Photo: p}}
	if s.Status == StatusStarted {
		fired = append(fired, s.move(StatusProcess))
	}
	if len(s.Missing()) == 0 {
		s.CapturedAt = s.UpdatedAt
		fired = append(fired, s.move(StatusQCPassed))
	}
	return fired, nil
}

// Missing is the steps that still need an accepted photo. A session that was
// created with a VIN needs none of it, unless one was captured and rejected.
func (s *Session) Missing() []PhotoStep {
	var out []PhotoStep
	for _, step := range PhotoSteps {
		i := slices.IndexFunc(s.Photos, func(p Photo) bool { return p.Code == step.Code })
		if i >= 0 && s.Photos[i].Approved || i < 0 && step.Code == StepVIN && s.Vehicle.VIN != "" {
			continue
		}
		out = append(out, step)
	}
	return out
}

// AddNote adds a remark; the store keeps its text.
func (s *Session) AddNote(n Note, now time.Time) ([]Fired, error) {
	if err := s.check(OpNotes, now); err != nil {
		return nil, err
	}
	if s.Notes >= MaxNotes {
		return nil, Errorf(KindConflict, "Session %s has %d notes, and no session has more.", s.SessionKey, MaxNotes)
	}
	s.touch(now)
	n.InsertedAt = s.UpdatedAt
	s.Notes++
	return []Fired{{Type: NoteInsert, Note: n}}, nil
}

// ReportSMS takes what became of the SMS.
func (s *Session) ReportSMS(r SMSReport, now time.Time) ([]Fired, error) {
	if err := s.check(OpSMS, now); err != nil {
		return nil, err
	}
	if r.Phone == "" {
		r.Phone = s.SMS.To
	}
	if r.Phone == "" {
		return nil, Errorf(KindInvalid, "phone is missing, and session %s has no options.sms.to to stand for it.", s.SessionKey)
	}
	s.touch(now)
	s.SMS.State, s.SMS.To = r.State, r.Phone
	return []Fired{{Type: SMSProcess, SMS: r}}, nil
}

// PutResults takes the platform's results, a JSON object, and what they say
// of the vehicle; the user is then asked to confirm. Until then they may be
// put again.
func (s *Session) PutResults(results []byte, v *Vehicle, now time.Time) ([]Fired, error) {
	if err := s.check(OpResults, now); err != nil {
		return nil, err
	}
	s.touch(now)
	s.Results = results
	if v != nil {
		s.Vehicle = v.over(s.Vehicle)
	}
	if s.Status == StatusConfirm {
		return nil, nil
	}
	return []Fired{s.move(StatusConfirm)}, nil
}

// over is v, with what is unknown in it from old.
func (v Vehicle) over(old Vehicle) Vehicle {
	return Vehicle{
		ID: cmp.Or(v.ID, old.ID), VIN: cmp.Or(v.VIN, old.VIN), Year: cmp.Or(v.Year, old.Year), Make: cmp.Or(v.Make, old.Make),
		Model: cmp.Or(v.Model, old.Model), BodyType: cmp.Or(v.BodyType, old.BodyType), Trim: cmp.Or(v.Trim, old.Trim),
		Transmission: cmp.Or(v.Transmission, old.Transmission), Drivetrain: cmp.Or(v.Drivetrain, old.Drivetrain),
		EngineType: cmp.Or(v.EngineType, old.EngineType), FuelType: cmp.Or(v.FuelType, old.FuelType),
		ExteriorCol: cmp.Or(v.ExteriorCol, old.ExteriorCol), InteriorCol: cmp.Or(v.InteriorCol, old.InteriorCol),
		OdomReading: cmp.Or(v.OdomReading, old.OdomReading), OdomUnit: cmp.Or(v.OdomUnit, old.OdomUnit),
	}
}

// Complete ends the session well.
func (s *Session) Complete(now time.Time) ([]Fired, error) {
	if err := s.check(OpComplete, now); err != nil {
		return nil, err
	}
	s.touch(now)
	return []Fired{s.move(StatusComplete), {Type: Complete}}, nil
}

// Invalidate ends the session because it cannot be used.
func (s *Session) Invalidate(reason string, now time.Time) ([]Fired, error) {
	if err := s.check(OpInvalidate, now); err != nil {
		return nil, err
	}
	s.touch(now)
	f := s.move(StatusInvalid)
	f.Reason = reason
	return []Fired{f}, nil
}

// SessionUpdate is what a client may change; nil leaves as it is.
type SessionUpdate struct {
	RedirectURL, Language, Theme, SMSTo *string
	// SMSToName is whom a new SMSTo belongs to; nil leaves the name as it is, and
	// without a new number it says nothing.
	SMSToName *string
}

// Created returns what the creation of the session fires: a request for the SMS
// when there is a number to send it to. link is what the SMS is to hold.
func (s *Session) Created(link string) []Fired {
	if s.SMS.To == "" {
		return nil
	}
	return []Fired{s.requestSMS(link)}
}

// requestSMS asks the platform to send the SMS.
func (s *Session) requestSMS(link string) Fired {
	s.SMS.State = SMSWaiting
	name := cmp.Or(s.SMS.ToName, strings.TrimSpace(s.FirstName+" "+s.LastName))
	return Fired{Type: SMSRequested, Request: SMSRequest{Phone: s.SMS.To, Name: name, Link: link}}
}

// Update changes what is not frozen. A frozen member is an error that names
// it, and then nothing changes. A new number asks for the SMS, which is to hold
// the link, and brings its name along.
func (s *Session) Update(u SessionUpdate, link string, now time.Time) ([]Fired, error) {
	status := s.StatusAt(now)
	frozen := func(given *string, have string, o Operation, name, until string) error {
		if given == nil || *given == have || o.AllowedIn(status) {
			return nil
		}
		return Errorf(KindInvalid, "%s is frozen: it can be changed %s, and session %s is %s.", name, until, s.SessionKey, status)
	}
	for _, err := range []error{
		frozen(u.RedirectURL, s.RedirectURL, OpUpdate, "redirect_url", "until the session has ended"),
		frozen(u.Language, s.Language, OpUpdate, "language", "until the session has ended"),
		frozen(u.Theme, s.Theme, OpTheme, "theme", "while the session is IDLE"),
		frozen(u.SMSTo, s.SMS.To, OpSMSTo, "sms.to", "before the session is started"),
	} {
		if err != nil {
			return nil, err
		}
	}
	newNumber := u.SMSTo != nil && *u.SMSTo != s.SMS.To
	if newNumber && s.SMS.State != SMSError {
		return nil, Errorf(KindInvalid, "sms.to is frozen: it can be changed when the SMS could not be delivered (state error), and its state is %s.", s.SMS.describe())
	}
	for _, set := range []struct{ to, given *string }{{&s.RedirectURL, u.RedirectURL}, {&s.Language, u.Language}, {&s.Theme, u.Theme}, {&s.SMS.To, u.SMSTo}} {
		if set.given != nil && *set.given != *set.to {
			*set.to = *set.given
			s.touch(now) // what changes nothing leaves an ended session as it was
		}
	}
	if newNumber {
		if u.SMSToName != nil {
			s.SMS.ToName = *u.SMSToName
		}
		return []Fired{s.requestSMS(link)}, nil
	}
	return nil, nil
}

func (m SMS) describe() string {
	if m.State == SMSNone {
		return "none"
	}
	return string(m.State)
}

// Resend asks the platform to send the SMS again, once in a session's life. What
// becomes of it is reported with [Session.ReportSMS].
func (s *Session) Resend(phone, link string, now time.Time) ([]Fired, error) {
	status := s.StatusAt(now)
	switch {
	case status == StatusExpired:
		return nil, Errorf(KindInvalid, "Session has expired and cannot be resent")
	case !OpResend.AllowedIn(status):
		return nil, Errorf(KindInvalid, "Session is already finalized and cannot be resent")
	case s.SMS.Resent:
		return nil, Errorf(KindInvalid, "SMS has already been resent")
	case phone == "" && s.SMS.To == "":
		return nil, Errorf(KindInvalid, "phone is missing, and the session has no number to stand for it")
	}
	s.touch(now)
	if phone != "" {
		s.SMS.To = phone
	}
	s.SMS.Resent = true
	return []Fired{s.requestSMS(link)}, nil
}

// Remove tells whether the session may be deleted.
func (s *Session) Remove(now time.Time) error {
	if !OpDelete.AllowedIn(s.StatusAt(now)) {
		return Errorf(KindInvalid, "Session %s has been started and cannot be deleted.", s.SessionKey)
	}
	return nil
}

// Due is when time itself changes the session next: it expires, or its
// reference is removed. Zero when never.
func (s *Session) Due() time.Time {
	switch {
	case OpExpire.AllowedIn(s.Status):
		return s.ExpiresAt
	case s.Status == StatusComplete && s.Reference != nil:
		return s.EndedAt.Add(ReferenceKept)
	}
	return time.Time{}
}

// Advance makes the change that is due at now, if one is: a session whose
// time frame has passed is EXPIRED, and a reference that was kept long enough
// is gone. Doing it again does nothing.
func (s *Session) Advance(now time.Time) (fired []Fired, changed bool) {
	due := s.Due()
	if due.IsZero() || now.Before(due) {
		return nil, false
	}
	s.touch(now)
	if s.Status == StatusComplete {
		s.Reference = nil
		return nil, true
	}
	return []Fired{s.move(StatusExpired)}, true
}

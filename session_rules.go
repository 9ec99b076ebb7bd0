package callbackd

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Operation is a change of a session. Its text is the last element of the API path.
type Operation string

// The operations of the platform, of the client, and the one that time causes.
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

// platformOperations lists the operations of the platform. The message of a conflict
// names those that are possible.
var platformOperations = []Operation{OpStart, OpPhotos, OpNotes, OpSMS, OpResults, OpComplete, OpInvalidate}

// allowedFrom lists the statuses in which each operation is possible.
var allowedFrom = map[Operation][]SessionStatus{
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

// AllowedIn reports whether the operation is possible in a status. The function of
// an operation may have further conditions.
func (o Operation) AllowedIn(st SessionStatus) bool { return slices.Contains(allowedFrom[o], st) }

// Fired is an event that a change of a session fires. Type says which of the other
// fields are used. COMPLETE contains the session after the change and is always the
// last event of a change.
type Fired struct {
	Type     EventType
	From, To SessionStatus // StatusChange
	Reason   string        // StatusChange to INVALID
	Photo    Photo         // StageChange
	Note     Note          // NoteInsert
	SMS      SMSReport     // SMSProcess
	Request  SMSRequest    // SMSRequested
}

// SMSReport is the platform's report on an SMS.
type SMSReport struct {
	Phone   string // empty for the session's own number
	State   SMSState
	Message string
}

// SMSRequest asks the platform to send an SMS and says what it needs for that.
type SMSRequest struct {
	Phone string
	Name  string // empty when unknown
	Link  string // to the capture pages; empty without one
}

// Each rule below changes its session and returns the fired events in order. When it
// returns an error, the session is unchanged.

// StatusAt returns the status that counts at now. A session whose time frame has
// passed is EXPIRED even before that is stored.
func (s *Session) StatusAt(now time.Time) SessionStatus {
	if OpExpire.AllowedIn(s.Status) && !now.Before(s.ExpiresAt) {
		return StatusExpired
	}
	return s.Status
}

// check returns an error when the status does not allow the operation.
func (s *Session) check(o Operation, now time.Time) error {
	status := s.StatusAt(now)
	if o.AllowedIn(status) {
		return nil
	}
	var can []string
	for _, p := range platformOperations {
		if p.AllowedIn(status) {
			can = append(can, string(p))
		}
	}
	if can == nil {
		return Errorf(KindConflict, "Session %s is %s: %s is not possible, because the session has ended.", s.SessionKey, status, o)
	}
	return Errorf(KindConflict, "Session %s is %s: %s is not possible; possible now: %s.", s.SessionKey, status, o, strings.Join(can, ", "))
}

// touch sets the time of a change. The time never goes back, so that no duration is
// negative after the clock was set back.
func (s *Session) touch(now time.Time) {
	if now.After(s.UpdatedAt) {
		s.UpdatedAt = now
	}
}

// setStatus changes the status and returns the event for it.
func (s *Session) setStatus(to SessionStatus) Fired {
	f := Fired{Type: StatusChange, From: s.Status, To: to}
	s.Status = to
	if to.Final() {
		s.EndedAt = s.UpdatedAt
	}
	return f
}

// Start records that the user pressed start.
func (s *Session) Start(now time.Time) ([]Fired, error) {
	if err := s.check(OpStart, now); err != nil {
		return nil, err
	}
	s.touch(now)
	s.StartedAt = s.UpdatedAt
	return []Fired{s.setStatus(StatusStarted)}, nil
}

// AddPhoto adds a photo, or a typed value for a step that allows one. It replaces an
// earlier photo of the same step. The first photo moves the session to PROCESS; the
// photo after which none is missing moves it to QC_PASSED.
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
		fired = append(fired, s.setStatus(StatusProcess))
	}
	if len(s.Missing()) == 0 {
		s.CapturedAt = s.UpdatedAt
		fired = append(fired, s.setStatus(StatusQCPassed))
	}
	return fired, nil
}

// Missing returns the steps that still need an accepted photo. A session that was
// created with a VIN needs no photo of it, unless one was captured and rejected.
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

// AddNote counts a note and fires its event. The store saves the text separately.
func (s *Session) AddNote(n Note, now time.Time) ([]Fired, error) {
	if err := s.check(OpNotes, now); err != nil {
		return nil, err
	}
	if s.Notes >= MaxNotes {
		return nil, Errorf(KindConflict, "Session %s has %d notes, which is the limit.", s.SessionKey, MaxNotes)
	}
	s.touch(now)
	n.InsertedAt = s.UpdatedAt
	s.Notes++
	return []Fired{{Type: NoteInsert, Note: n}}, nil
}

// ReportSMS records the platform's report on the SMS.
func (s *Session) ReportSMS(r SMSReport, now time.Time) ([]Fired, error) {
	if err := s.check(OpSMS, now); err != nil {
		return nil, err
	}
	if r.Phone == "" {
		r.Phone = s.SMS.To
	}
	if r.Phone == "" {
		return nil, Errorf(KindInvalid, "phone is missing, and session %s has no options.sms.to to use instead.", s.SessionKey)
	}
	s.touch(now)
	s.SMS.State, s.SMS.To = r.State, r.Phone
	return []Fired{{Type: SMSProcess, SMS: r}}, nil
}

// PutResults sets the platform's results, a JSON object, and the vehicle they
// describe. The session moves to CONFIRM, where the results can still be replaced.
func (s *Session) PutResults(results []byte, v *Vehicle, now time.Time) ([]Fired, error) {
	if err := s.check(OpResults, now); err != nil {
		return nil, err
	}
	s.touch(now)
	s.Results = results
	if v != nil {
		s.Vehicle = v.mergedWith(s.Vehicle)
	}
	if s.Status == StatusConfirm {
		return nil, nil
	}
	return []Fired{s.setStatus(StatusConfirm)}, nil
}

// mergedWith returns v with its unknown fields taken from old.
func (v Vehicle) mergedWith(old Vehicle) Vehicle {
	return Vehicle{
		ID: cmp.Or(v.ID, old.ID), VIN: cmp.Or(v.VIN, old.VIN), Year: cmp.Or(v.Year, old.Year), Make: cmp.Or(v.Make, old.Make),
		Model: cmp.Or(v.Model, old.Model), BodyType: cmp.Or(v.BodyType, old.BodyType), Trim: cmp.Or(v.Trim, old.Trim),
		Transmission: cmp.Or(v.Transmission, old.Transmission), Drivetrain: cmp.Or(v.Drivetrain, old.Drivetrain),
		EngineType: cmp.Or(v.EngineType, old.EngineType), FuelType: cmp.Or(v.FuelType, old.FuelType),
		ExteriorCol: cmp.Or(v.ExteriorCol, old.ExteriorCol), InteriorCol: cmp.Or(v.InteriorCol, old.InteriorCol),
		OdomReading: cmp.Or(v.OdomReading, old.OdomReading), OdomUnit: cmp.Or(v.OdomUnit, old.OdomUnit),
	}
}

// Complete ends the session successfully.
func (s *Session) Complete(now time.Time) ([]Fired, error) {
	if err := s.check(OpComplete, now); err != nil {
		return nil, err
	}
	s.touch(now)
	return []Fired{s.setStatus(StatusComplete), {Type: Complete}}, nil
}

// Invalidate ends the session as INVALID for a reason.
func (s *Session) Invalidate(reason string, now time.Time) ([]Fired, error) {
	if err := s.check(OpInvalidate, now); err != nil {
		return nil, err
	}
	s.touch(now)
	f := s.setStatus(StatusInvalid)
	f.Reason = reason
	return []Fired{f}, nil
}

// SessionUpdate is a change by the client. A nil field stays as it is.
type SessionUpdate struct {
	RedirectURL, Language, Theme, SMSTo *string
	// SMSToName is the name that belongs to a new SMSTo. It is ignored without a
	// new number.
	SMSToName *string
}

// Created returns the events of the session's creation: a request for the SMS with
// the given link, when there is a number to send it to.
func (s *Session) Created(link string) []Fired {
	if s.SMS.To == "" {
		return nil
	}
	return []Fired{s.requestSMS(link)}
}

// requestSMS returns the event that asks the platform to send the SMS.
func (s *Session) requestSMS(link string) Fired {
	s.SMS.State = SMSWaiting
	name := cmp.Or(s.SMS.ToName, strings.TrimSpace(s.FirstName+" "+s.LastName))
	return Fired{Type: SMSRequested, Request: SMSRequest{Phone: s.SMS.To, Name: name, Link: link}}
}

// Update changes fields that are not frozen. A frozen field is an error that names
// it, and nothing changes. A new number fires a request for an SMS with the link.
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
			s.touch(now) // not without a change, so that an ended session stays as it was
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

// describe names the state of the SMS in messages.
func (m SMS) describe() string {
	if m.State == SMSNone {
		return "none"
	}
	return string(m.State)
}

// Resend fires a request to send the SMS again. It is possible once per session. The
// platform reports the result with [Session.ReportSMS].
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
		return nil, Errorf(KindInvalid, "phone is missing, and the session has no number to use instead")
	}
	s.touch(now)
	if phone != "" {
		s.SMS.To = phone
	}
	s.SMS.Resent = true
	return []Fired{s.requestSMS(link)}, nil
}

// CheckDelete returns an error when the session must not be deleted.
func (s *Session) CheckDelete(now time.Time) error {
	if !OpDelete.AllowedIn(s.StatusAt(now)) {
		return Errorf(KindInvalid, "Session %s has been started and cannot be deleted.", s.SessionKey)
	}
	return nil
}

// Due returns when time changes the session next: it expires, or its reference is
// removed. It is zero when neither will happen.
func (s *Session) Due() time.Time {
	switch {
	case OpExpire.AllowedIn(s.Status):
		return s.ExpiresAt
	case s.Status == StatusComplete && s.Reference != nil:
		return s.EndedAt.Add(ReferenceKept)
	}
	return time.Time{}
}

// Advance makes the change that is due at now, if any: a session whose time frame has
// passed becomes EXPIRED, and the reference of a completed session is removed after
// ReferenceKept. A second call does nothing.
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
	return []Fired{s.setStatus(StatusExpired)}, true
}

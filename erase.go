package callbackd

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// EraseID is the id of an erasure. Like an event's id it holds the time of creation, and
// later erasures have greater ids.
type EraseID int64

// String returns the id as the API writes it: "ers_" and 13 digits of base32.
func (id EraseID) String() string { return "ers_" + encode63(int64(id)) }

// ParseEraseID parses what [EraseID.String] returns.
func ParseEraseID(s string) (EraseID, bool) {
	digits, ok := strings.CutPrefix(s, "ers_")
	if !ok {
		return 0, false
	}
	n, ok := decode63(digits)
	return EraseID(n), ok && n > 0
}

// EraseBy says what chooses the sessions that an erasure erases.
type EraseBy string

// What an erasure is chosen by.
const (
	EraseSession   EraseBy = "session_key"
	EraseVIN       EraseBy = "vin"
	ErasePhone     EraseBy = "phone"
	EraseReference EraseBy = "reference"
)

// EraseBys lists what an erasure can be chosen by.
var EraseBys = []EraseBy{EraseSession, EraseVIN, ErasePhone, EraseReference}

// Limits of erasures.
const (
	MaxErases      = 20     // of one API key that run
	MaxErasesKept  = 10_000 // of one API key; the oldest that have ended are removed
	MaxEraseValue  = 1 << 10
	minPhoneDigits = 6
)

// Erased is what a person's text becomes when it is erased.
const Erased = "erased"

// ErasedURL is the URL of a callback that was erased. Its host never exists (RFC 2606).
const ErasedURL = "https://erased.invalid/"

// Erase removes what the setting of a callback for one session may have of a person.
func (c *Callback) Erase() {
	c.URL, c.Headers, c.Payload = ErasedURL, nil, []byte("{}")
	c.Policy.Filter, c.Policy.Fields, c.Policy.OrderGroup = nil, nil, ""
	c.Policy.Auth, c.OldAuth = nil, OldAuth{}
}

// WhyErased is the reason of a delivery that an erasure canceled.
const WhyErased = Erased

// ErasePhase is what an erasure does next.
type ErasePhase string

// The phases of an erasure, in their order.
const (
	EraseFindsSessions ErasePhase = "find_sessions" // looks for the value in sessions
	EraseFindsEvents   ErasePhase = "find_events"   // looks for the value in the data of events
	EraseDryRun        ErasePhase = "count"         // of a dry run: counts what would be erased
	EraseErases        ErasePhase = "erase"         // one session after the other
	EraseCallbacks     ErasePhase = "callbacks"     // settings of callbacks that are for one of the sessions
	EraseAnswers       ErasePhase = "answers"       // answers of idempotency keys
	EraseLogs          ErasePhase = "logs"          // messages in the log of calls
	EraseReplays       ErasePhase = "replays"       // reasons of cancellations
	EraseOverwrites    ErasePhase = "overwrite"     // has the database overwrite what it freed
	EraseDone          ErasePhase = "done"
)

// NextErasePhase returns the phase that follows p.
func NextErasePhase(p ErasePhase, dryRun bool) ErasePhase {
	switch p {
	case EraseFindsSessions:
		return EraseFindsEvents
	case EraseFindsEvents:
		if dryRun {
			return EraseDryRun
		}
		return EraseErases
	case EraseErases, EraseDryRun:
		return EraseCallbacks
	case EraseCallbacks:
		return EraseAnswers
	case EraseAnswers:
		return EraseLogs
	case EraseLogs:
		return EraseReplays
	case EraseReplays:
		if !dryRun {
			return EraseOverwrites
		}
	}
	return EraseDone
}

// Erase is a stored order to erase what is stored of people in sessions and their events.
//
// It erases what was accepted up to its start. An event that is accepted later is new
// data, and stays.
type Erase struct {
	ID     EraseID
	Key    KeyID
	By     EraseBy
	DryRun bool
	// Subject is the session key, or the keyed hash of the value that was looked for. The
	// value itself is not stored.
	Subject   string
	CreatedAt time.Time
	EndedAt   time.Time // zero before the end
	UpTo      EventID   // the newest event that it covers
	// Group is the erasure over all API keys that it belongs to, or 0. GroupSize is in how many
	// keys that was started.
	Group     EraseGroupID
	GroupSize int

	Phase    ErasePhase
	Progress EraseProgress
	// Salt and Match find the value while the erasure runs: see [Erase.ChoosesSession]. They are
	// removed at the end.
	Salt, Match []byte
	Receipt     []byte // canonical JSON; nil before the end
}

// EraseProgress says how far an erasure has come in its phase, and what it did so far.
type EraseProgress struct {
	Session string      `json:"session,omitempty"` // the last session that is done, or the one under way
	At      int64       `json:"at,omitempty"`      // place in a list
	Hash    []byte      `json:"hash,omitempty"`    // place among the answers
	Counts  EraseCounts `json:"counts"`
}

// EraseCounts is how much an erasure erased, or of a dry run would erase.
type EraseCounts struct {
	Sessions    int64 `json:"sessions"`         // session keys that were found
	Documents   int64 `json:"session_records"`  // stored sessions among them
	Photos      int64 `json:"photos"`           // entries of photos in them
	Notes       int64 `json:"notes"`            // notes on them
	Events      int64 `json:"events"`           // their events
	Canceled    int64 `json:"canceled"`         // pending deliveries that were canceled first
	Attempts    int64 `json:"attempts"`         // attempts whose request and response are gone
	Callbacks   int64 `json:"callbacks"`        // that were for one of the sessions
	Idempotency int64 `json:"idempotency_keys"` // digests of publishes, and answers to calls
	Logs        int64 `json:"log_messages"`     // messages in the log of calls
	Reasons     int64 `json:"reasons"`          // reasons that people gave for cancellations
}

// Running reports whether the erasure goes on.
func (e *Erase) Running() bool { return e.Phase != EraseDone }

// Advance moves the erasure to its next phase.
func (e *Erase) Advance() {
	e.Phase = NextErasePhase(e.Phase, e.DryRun)
	e.Progress.Session, e.Progress.At, e.Progress.Hash = "", 0, nil
}

// eraseReceipt is what a receipt says. Its members are in alphabetical order, as canonical
// JSON has them.
type eraseReceipt struct {
	APIKey    string          `json:"api_key"`
	By        EraseBy         `json:"by"`
	Counts    json.RawMessage `json:"counts"`
	CreatedAt string          `json:"created_at"`
	DryRun    bool            `json:"dry_run"`
	EndedAt   string          `json:"ended_at"`
	ID        string          `json:"id"`
	Beyond    []string        `json:"not_reached"` // which copies an erasure does not reach
	Subject   string          `json:"subject"`
	UpTo      string          `json:"up_to_event"` // empty when the key had no events
}

// notReached names the copies of the data that are outside the store.
var notReached = []string{"archives", "backups", "exports", "receivers"}

// End ends the erasure and writes its receipt. apiKey is the text of its key.
func (e *Erase) End(apiKey string, at time.Time) error {
	e.Phase, e.EndedAt, e.Salt, e.Match = EraseDone, at.UTC().Truncate(time.Millisecond), nil, nil
	counts, err := e.Progress.Counts.canonical()
	if err != nil {
		return err
	}
	r := eraseReceipt{APIKey: apiKey, By: e.By, Counts: counts, CreatedAt: receiptTime(e.CreatedAt), DryRun: e.DryRun, EndedAt: receiptTime(e.EndedAt), ID: e.ID.String(), Beyond: notReached, Subject: e.Subject}
	if e.UpTo != 0 {
		r.UpTo = e.UpTo.String()
	}
	e.Receipt, err = json.Marshal(r)
	return err
}

// canonical returns the counts as JSON with the members in alphabetical order.
func (c EraseCounts) canonical() ([]byte, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var members map[string]int64 // a map is written in the order of its keys
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}

func receiptTime(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// ReceiptHash returns the SHA-256 of a receipt in hexadecimal digits.
func ReceiptHash(receipt []byte) string {
	h := sha256.Sum256(receipt)
	return hex.EncodeToString(h[:])
}

// EraseValue returns a value in the form in which values are compared: a VIN in upper
// case, a phone number as its digits, a reference in upper case. ok is false when it
// cannot be such a value.
func (by EraseBy) EraseValue(value string) (normal string, ok bool) {
	switch by {
	case EraseVIN:
		normal = strings.ToUpper(strings.TrimSpace(value))
		return normal, len(normal) == VINLength
	case ErasePhone:
		return phoneDigits(value)
	case EraseReference:
		normal = strings.ToUpper(strings.TrimSpace(value))
		return normal, normal != "" && len(normal) <= MaxEraseValue
	}
	return value, value != "" && len(value) <= MaxSessionKey && utf8.ValidString(value) && !strings.ContainsRune(value, 0)
}

// eraseForms says what each value must be.
var eraseForms = map[EraseBy]string{
	EraseSession:   "a session key of at most 64 bytes",
	EraseVIN:       "17 letters and digits",
	ErasePhone:     "a number of 6 digits or more, with +, -, ., /, spaces or brackets",
	EraseReference: "a text or a number of the reference",
}

// ErrValue returns the error for a value that [EraseBy.EraseValue] refuses. The value is not in
// it, unless it is a session key: messages are kept in the log of calls.
func (by EraseBy) ErrValue(value string) error {
	if by != EraseSession {
		return Invalid("%s must be %s.", by, eraseForms[by])
	}
	return Invalid("%s must be %s, not %q.", by, eraseForms[by], Clip(value, 60))
}

// phoneDigits returns the digits of a phone number without the + or 00 that begins an
// international one. ok is false when the text has anything that a number has not.
func phoneDigits(s string) (digits string, ok bool) {
	if len(s) > MaxSessionText {
		return "", false
	}
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			out = append(out, c)
		case !strings.ContainsRune("+-./() ", rune(c)):
			return "", false
		}
	}
	digits = strings.TrimPrefix(string(out), "00")
	return digits, len(digits) >= minPhoneDigits
}

// eraseMAC returns the hash by which a value is found.
func eraseMAC(key []byte, by EraseBy, normal string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("callbackd erase " + string(by) + "\n" + normal))
	return m.Sum(nil)
}

// Look makes the erasure look for a value, which [EraseBy.EraseValue] has made. salt is
// random. digest makes the hash that the audit log has of secrets: equal values of an API
// key have equal subjects, and nobody without its key can guess a phone number. An erasure
// that has a subject already, that of its dry run, refuses a value with another one.
func (e *Erase) Look(normal string, salt []byte, digest func(string) string) error {
	subject := normal
	if e.By != EraseSession {
		e.Salt, e.Match = salt, eraseMAC(salt, e.By, normal)
		subject = digest("erase " + string(e.By) + "\n" + normal)
	}
	if e.Subject != "" && e.Subject != subject {
		return Invalid("This %s is not the one of the dry run; nothing was erased.", e.By)
	}
	e.Phase, e.Subject = EraseFindsSessions, subject
	return nil
}

// is reports whether a value is the one that the erasure looks for.
func (e *Erase) is(value string) bool {
	normal, ok := e.By.EraseValue(value)
	return ok && hmac.Equal(eraseMAC(e.Salt, e.By, normal), e.Match)
}

// ChoosesSession reports whether the erasure erases a stored session, by what the session
// itself has.
func (e *Erase) ChoosesSession(s *Session) bool {
	switch e.By {
	case EraseVIN:
		return e.is(s.Vehicle.VIN)
	case ErasePhone:
		return e.is(s.SMS.To)
	case EraseReference:
		return e.choosesJSON(s.Reference)
	}
	return s.SessionKey == e.Subject
}

// ChoosesData reports whether the erasure erases the session of an event, because a value
// in the event's data is the one that it looks for.
func (e *Erase) ChoosesData(data []byte) bool { return e.By != EraseSession && e.choosesJSON(data) }

// choosesJSON reports whether a text or a number in a JSON value is the one that the
// erasure looks for.
func (e *Erase) choosesJSON(raw []byte) bool {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil { // the end
			return false
		}
		switch v := token.(type) {
		case string:
			if e.is(v) {
				return true
			}
		case json.Number:
			if e.By == EraseReference && e.is(v.String()) {
				return true
			}
		}
	}
}

// ErasedData is the data of an event that was erased.
var ErasedData = []byte("{}")

// IsErased reports whether the data of the event was erased.
func (e *Event) IsErased() bool { return !e.ErasedAt.IsZero() }

// ErrErased is the error for an event that is to be sent again.
func (e *Event) ErrErased() error {
	return Errorf(KindConflict, "the data of event %s was erased on %s; there is nothing left to send", e.ID, e.ErasedAt.UTC().Format(time.RFC3339))
}

// ErasedWithheld returns from whom an event was withheld, without the terms of their
// filters, which may name a person's data.
func ErasedWithheld(withheld []Withheld) []Withheld {
	out := slices.Clone(withheld)
	for i := range out {
		out[i].Term = ""
	}
	return out
}

// Erase removes what the request and the answer of the attempt had. What stays is when it
// was made, where it went, how it ended, and the size of the answer.
func (a *Attempt) Erase() {
	a.Error, a.RetryAfter, a.Location, a.Headers, a.Body = "", "", "", "", nil
	if a.State == Canceled && a.Why != WhyEnded { // the reason may be in a person's words
		a.Why = WhyErased
	}
	a.Capture = CaptureErased
}

// Erase removes what the session has of people and of the vehicle. What stays is its key,
// status, times, theme, language and source, and of each photo its step, times and verdict
// without the reason. Texts that people read become [Erased]; addresses, numbers and JSON
// become empty.
func (s *Session) Erase(at time.Time) {
	for _, t := range []*string{&s.FirstName, &s.LastName, &s.SMS.ToName, &s.SMS.By} {
		eraseText(t)
	}
	s.RedirectURL, s.ClientID, s.SMS.To, s.SMS.From = "", "", "", ""
	s.Reference, s.SourceProperties, s.Vehicle = nil, nil, Vehicle{}
	if s.Results != nil {
		s.Results = ErasedData
	}
	s.Photos = slices.Clone(s.Photos)
	for i := range s.Photos {
		p := &s.Photos[i]
		p.URL = ""
		eraseText(&p.Typed)
		eraseText(&p.Reason)
	}
	s.ErasedAt = at
}

// eraseText replaces a text, unless it is empty.
func eraseText(s *string) {
	if *s != "" {
		*s = Erased
	}
}

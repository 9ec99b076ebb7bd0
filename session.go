package callbackd

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"
)

// SessionStatus is the status of an inspection session, in PAVE's spelling.
type SessionStatus string

// The statuses of a session. It ends in exactly one of the last three.
const (
	StatusIdle     SessionStatus = "IDLE"      // created; the user has not started
	StatusStarted  SessionStatus = "STARTED"   // the user pressed start
	StatusProcess  SessionStatus = "PROCESS"   // a photo was captured
	StatusQCPassed SessionStatus = "QC_PASSED" // every required photo is accepted
	StatusConfirm  SessionStatus = "CONFIRM"   // results exist, and the user should confirm them
	StatusComplete SessionStatus = "COMPLETE"
	StatusExpired  SessionStatus = "EXPIRED" // its time frame passed
	StatusInvalid  SessionStatus = "INVALID" // the vehicle does not match, or the photos are unusable
)

// SessionStatuses lists every status in the order of an inspection.
var SessionStatuses = []SessionStatus{StatusIdle, StatusStarted, StatusProcess, StatusQCPassed, StatusConfirm, StatusComplete, StatusExpired, StatusInvalid}

// Valid reports whether st is one of the statuses.
func (st SessionStatus) Valid() bool { return slices.Contains(SessionStatuses, st) }

// Final reports whether the session has ended.
func (st SessionStatus) Final() bool {
	return st == StatusComplete || st == StatusExpired || st == StatusInvalid
}

// Active reports whether the session is in use or was completed. An expired or
// invalid session is not active.
func (s *Session) Active() bool {
	return s.Status != StatusExpired && s.Status != StatusInvalid
}

// DefaultTimeFrame is how long a session may take until QC_PASSED when its API key
// sets no time frame. MinTimeFrame and MaxTimeFrame bound that setting.
// ReferenceKept is how long a completed session keeps its reference.
const (
	DefaultTimeFrame = 7 * 24 * time.Hour
	MinTimeFrame     = time.Second
	MaxTimeFrame     = 366 * 24 * time.Hour
	ReferenceKept    = 24 * time.Hour
)

// Limits on a session, in bytes unless said otherwise. Together they keep the data of
// its COMPLETE event under MaxEventData, unless much of its text needs escapes in
// JSON, which are up to six times as long.
const (
	MaxSessionText   = 255       // a short text: names, colours, phone numbers
	MaxReference     = 16 << 10  // options.reference, and source.properties
	MaxResults       = 160 << 10 // the body of PUT …/results
	MaxNotes         = 1000      // notes of one session, in number
	MaxNoteText      = 8 << 10   // a note's description
	MaxPhotoMessage  = 1 << 10   // a photo's approved_message; an SMS's message; a reason
	VINLength        = 17
	DefaultLanguage  = "EN"
	DefaultTheme     = "PRO"
	DefaultSource    = "api"
	sessionKeyRandom = 10
)

// Themes and Sources list the allowed themes and source types of a session.
var (
	Themes  = []string{"LITE", "PRO", "CAPT"}
	Sources = []string{"api", "dashboard", "shareable_link", "embedded_widget"}
)

// PhotoStep is one photo of an inspection.
type PhotoStep struct {
	Code  int
	Label string
	// Typed is set when a value may be typed instead of captured.
	Typed bool
}

// PhotoSteps lists every step in capture order.
var PhotoSteps = []PhotoStep{
	{1, "VIN", true}, {2, "Interior", false}, {3, "Cluster", true}, {4, "Left", false}, {10, "Front_Left", false},
	{5, "Front", false}, {11, "Front_Right", false}, {7, "Right", false}, {12, "Rear_Right", false}, {8, "Rear", false},
	{13, "Rear_Left", false}, {9, "Windshield", false}, {6, "Tires", false},
}

// The steps whose value may be typed.
const (
	StepVIN     = 1
	StepCluster = 3
)

// StepOf returns the step with a code.
func StepOf(code int) (PhotoStep, bool) {
	i := slices.IndexFunc(PhotoSteps, func(s PhotoStep) bool { return s.Code == code })
	if i < 0 {
		return PhotoStep{}, false
	}
	return PhotoSteps[i], true
}

// Session is one vehicle inspection. Rules replace its slices and never change them in
// place, so that a copy stays as it was. A zero time means "not yet".
type Session struct {
	Key         KeyID
	SessionKey  string
	Status      SessionStatus
	Theme       string
	Language    string
	RedirectURL string
	ClientID    string
	SMS         SMS
	FirstName   string // of the contact
	LastName    string
	// Reference is any JSON value that the client wants back; nil for none.
	Reference  []byte
	SourceType string
	// SourceProperties is a JSON object.
	SourceProperties []byte
	Vehicle          Vehicle
	Photos           []Photo // in capture order; the latest of each step
	Notes            int     // number of notes
	// Results is the JSON object with the platform's results; nil before them.
	Results []byte

	CreatedAt  time.Time
	UpdatedAt  time.Time
	StartedAt  time.Time
	CapturedAt time.Time // QC_PASSED
	EndedAt    time.Time // a final status
	ExpiresAt  time.Time
	ErasedAt   time.Time // an erasure has removed what was stored of people
}

// SMS is the text message with the link for the user.
type SMS struct {
	To, ToName, From, By string
	State                SMSState
	Resent               bool
}

// SMSState is the state of a session's SMS.
type SMSState string

// The states of an SMS.
const (
	SMSNone    SMSState = ""        // no number, or never requested
	SMSWaiting SMSState = "waiting" // requested; the platform has not reported yet
	SMSSuccess SMSState = "success"
	SMSError   SMSState = "error"
)

// Vehicle describes the vehicle. Zero fields are unknown.
type Vehicle struct {
	ID           int64
	VIN          string
	Year         int
	Make         string
	Model        string
	BodyType     string
	Trim         string
	Transmission string
	Drivetrain   string
	EngineType   string
	FuelType     string
	ExteriorCol  string
	InteriorCol  string
	OdomReading  string // text: PAVE writes it with separators
	OdomUnit     string
}

// Photo is the latest capture of one step.
type Photo struct {
	Code      int
	URL       string // empty when the value was typed
	Typed     string
	Approved  bool
	Reason    string // why it was rejected
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Verdict returns the photo's state in PAVE's words: ACCEPTED, or REJECTED with the
// reason.
func (p *Photo) Verdict() string {
	if p.Approved {
		return "ACCEPTED"
	}
	return rejected + p.Reason
}

// rejected precedes the reason in a verdict.
const rejected = "REJECTED: "

// Reason returns the reason in a verdict in PAVE's words: the text after "REJECTED: ",
// or the whole text without it.
func Reason(verdict string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(verdict), strings.TrimSpace(rejected)))
}

// Note is a note on a session.
type Note struct {
	Title       string
	Description string
	InsertedBy  string
	InsertedAt  time.Time
}

// NewSessionKey returns a new session key: three letters of the account, a hyphen and
// ten random letters and digits.
func NewSessionKey(account string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	out := make([]byte, 0, 4+sessionKeyRandom)
	for i := 0; i < len(account) && len(out) < 3; i++ {
		if c := account[i] &^ 0x20; c >= 'A' && c <= 'Z' {
			out = append(out, c)
		}
	}
	for len(out) < 3 {
		out = append(out, 'X')
	}
	out = append(out, '-')
	var b [16]byte
	for {
		rand.Read(b[:])
		for _, c := range b {
			// 252 is the largest multiple of 36 in a byte: below it, every digit is
			// equally likely.
			if c < 252 {
				out = append(out, digits[c%36])
			}
			if len(out) == cap(out) {
				return string(out)
			}
		}
	}
}

// IsSessionKey reports whether s has the form of PAVE's session keys: three or
// four letters, a hyphen, and ten letters and digits.
func IsSessionKey(s string) bool {
	letters, random, _ := strings.Cut(s, "-")
	if len(letters) < 3 || len(letters) > 4 || len(random) != sessionKeyRandom {
		return false
	}
	const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return strings.Trim(letters, upper) == "" && strings.Trim(random, upper+"0123456789") == ""
}

package callbackd

import (
	"crypto/rand"
	"slices"
	"strings"
	"time"
)

// SessionStatus is where an inspection session stands, in PAVE's spelling.
type SessionStatus string

// The statuses of a session. It ends in exactly one of the last three.
const (
	StatusIdle     SessionStatus = "IDLE"      // created; the user has not begun
	StatusStarted  SessionStatus = "STARTED"   // the user pressed start
	StatusProcess  SessionStatus = "PROCESS"   // a photo was captured
	StatusQCPassed SessionStatus = "QC_PASSED" // every needed photo is accepted
	StatusConfirm  SessionStatus = "CONFIRM"   // results are there and wait for the user
	StatusComplete SessionStatus = "COMPLETE"
	StatusExpired  SessionStatus = "EXPIRED" // its time frame passed
	StatusInvalid  SessionStatus = "INVALID" // the vehicle does not match, or the photos are unfit
)

// SessionStatuses is every status in the order an inspection takes.
var SessionStatuses = []SessionStatus{StatusIdle, StatusStarted, StatusProcess, StatusQCPassed, StatusConfirm, StatusComplete, StatusExpired, StatusInvalid}

// Valid tells whether st is one of the statuses.
func (st SessionStatus) Valid() bool { return slices.Contains(SessionStatuses, st) }

// Final tells whether the session has ended.
func (st SessionStatus) Final() bool {
	return st == StatusComplete || st == StatusExpired || st == StatusInvalid
}

// Active tells whether the session is in use or was completed. One that
// expired or was found invalid is not active.
func (s *Session) Active() bool {
	return s.Status != StatusExpired && s.Status != StatusInvalid
}

// DefaultTimeFrame is how long a session may take until QC_PASSED when its
// API key says nothing else; MinTimeFrame and MaxTimeFrame bound what it may
// say. ReferenceKept is how long a completed session keeps its reference.
const (
	DefaultTimeFrame = 7 * 24 * time.Hour
	MinTimeFrame     = time.Second
	MaxTimeFrame     = 366 * 24 * time.Hour
	ReferenceKept    = 24 * time.Hour
)

// Limits on a session, in bytes unless said otherwise. Together they keep the
// data of its COMPLETE event under MaxEventData, unless much of its text is of
// the kind that JSON writes six times as long.
const (
	MaxSessionText   = 255       // a short text: names, colours, phone numbers
	MaxReference     = 16 << 10  // options.reference, and source.properties
	MaxResults       = 160 << 10 // what PUT …/results takes
	MaxNotes         = 1000      // notes of one session, in number
	MaxNoteText      = 8 << 10   // a note's description
	MaxPhotoMessage  = 1 << 10   // a photo's approved_message; an SMS's message; a reason
	VINLength        = 17
	DefaultLanguage  = "EN"
	DefaultTheme     = "PRO"
	DefaultSource    = "api"
	sessionKeyRandom = 10
)

// Themes and Sources are what a session's theme and source type may be.
var (
	Themes  = []string{"LITE", "PRO", "CAPT"}
	Sources = []string{"api", "dashboard", "shareable_link", "embedded_widget"}
)

// PhotoStep is one photo of an inspection.
type PhotoStep struct {
	Code  int
	Label string
	// Typed tells that a value may be typed instead of captured.
	Typed bool
}

// PhotoSteps is every step in capture order.
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

// StepOf is the step with a code.
func StepOf(code int) (PhotoStep, bool) {
	i := slices.IndexFunc(PhotoSteps, func(s PhotoStep) bool { return s.Code == code })
	if i < 0 {
		return PhotoStep{}, false
	}
	return PhotoSteps[i], true
}

// Session is one vehicle inspection. What it holds in slices is replaced,
// never changed in place, so that a copy of it stays as it was. The zero time
// means "not yet".
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
	// Reference is any JSON value the client wants back; nil for none.
	Reference  []byte
	SourceType string
	// SourceProperties is a JSON object.
	SourceProperties []byte
	Vehicle          Vehicle
	Photos           []Photo // in capture order; the latest of each step
	Notes            int     // how many there are
	// Results is the JSON object the platform put; nil before.
	Results []byte

	CreatedAt  time.Time
	UpdatedAt  time.Time
	StartedAt  time.Time
	CapturedAt time.Time // QC_PASSED
	EndedAt    time.Time // a final status
	ExpiresAt  time.Time
}

// SMS is the text message that carries the link to the user.
type SMS struct {
	To, ToName, From, By string
	State                SMSState
	Resent               bool
}

// SMSState is what is known of a session's SMS.
type SMSState string

// The states of an SMS.
const (
	SMSNone    SMSState = ""        // no number, none sent
	SMSWaiting SMSState = "waiting" // to be sent by the platform, which reports
	SMSSuccess SMSState = "success"
	SMSError   SMSState = "error"
)

// Vehicle is what is known of the vehicle; zero members are unknown.
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

// Verdict is the photo's state in PAVE's words: ACCEPTED, or REJECTED with
// the reason.
func (p *Photo) Verdict() string {
	if p.Approved {
		return "ACCEPTED"
	}
	return rejected + p.Reason
}

const rejected = "REJECTED: "

// Reason is what a verdict in PAVE's words says against a photo: the text
// itself, or what follows "REJECTED: ".
func Reason(verdict string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(verdict), strings.TrimSpace(rejected)))
}

// Note is a remark on a session.
type Note struct {
	Title       string
	Description string
	InsertedBy  string
	InsertedAt  time.Time
}

// NewSessionKey makes a session key: three letters of the account and ten
// random letters and digits.
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
			// The largest multiple of 36 keeps every digit equally likely.
			if c < 252 {
				out = append(out, digits[c%36])
			}
			if len(out) == cap(out) {
				return string(out)
			}
		}
	}
}

// IsSessionKey tells whether s has the form of PAVE's session keys: three or
// four letters, a hyphen, and ten letters and digits.
func IsSessionKey(s string) bool {
	letters, random, _ := strings.Cut(s, "-")
	if len(letters) < 3 || len(letters) > 4 || len(random) != sessionKeyRandom {
		return false
	}
	const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return strings.Trim(letters, upper) == "" && strings.Trim(random, upper+"0123456789") == ""
}

package store

import (
	"context"
	"crypto/sha256"
	"time"

	"callbackd"
)

// Once makes a command run once for an idempotency key. It goes to the command
// with its context: the command's change and the answer are one transaction,
// and a command whose key has an answer is not run and returns [Repeated].
type Once struct {
	Key    callbackd.KeyID
	Hash   []byte // of what the idempotency key was sent to, and of the key
	Digest []byte // of what was sent
	At     time.Time
	// Show makes the answer of what the command made. It runs in the command's
	// transaction, perhaps more than once, and must not call the store. Its
	// error ends the command, and nothing is written.
	Show func(made any) (Answer, error)

	made any
}

// Answer is what a call was answered.
type Answer struct {
	Status int
	Body   []byte
}

// NewOnce names what a call asks for: where, with which idempotency key, and
// what it sends.
func NewOnce(key callbackd.KeyID, where, idempotencyKey string, sent []byte, at time.Time) *Once {
	hash, digest := sha256.Sum256([]byte(where+"\n"+idempotencyKey)), sha256.Sum256(sent)
	return &Once{Key: key, Hash: hash[:16], Digest: digest[:], At: at}
}

// Repeated is the error of a command that was not run, with the first answer.
type Repeated struct{ Answer }

// Error is part of error.
func (*Repeated) Error() string { return "the idempotency key has an answer" }

// ErrOtherCall means that an idempotency key stands for the answer of another
// call.
var ErrOtherCall = callbackd.Errorf(callbackd.KindConflict, "This idempotency key was used with another body; use a new key for a new call.")

// Again judges a stored answer: it is the error of the command that is not run.
func (o *Once) Again(digest []byte, a Answer) error {
	if string(digest) != string(o.Digest) {
		return ErrOtherCall
	}
	return callbackd.Wrap(callbackd.KindConflict, &Repeated{a}, "repeated")
}

// Answer is the answer of the command that has been run.
func (o *Once) Answer() (Answer, error) {
	if o.made == nil {
		return Answer{}, callbackd.Errorf(callbackd.KindInternal, "the command has no answer")
	}
	return o.Show(o.made)
}

type onceKey struct{}

// WithOnce is the context of a command that runs once.
func WithOnce(ctx context.Context, o *Once) context.Context {
	return context.WithValue(ctx, onceKey{}, o)
}

// OnceOf is what WithOnce gave the context; nil when it did not.
func OnceOf(ctx context.Context) *Once {
	o, _ := ctx.Value(onceKey{}).(*Once)
	return o
}

// Made notes what a command made, within its transaction: what its method
// returns, or [Changed].
func Made(ctx context.Context, made any) { OnceOf(ctx).Made(made) }

// Made is the function Made for who has o.
func (o *Once) Made(made any) {
	if o != nil {
		o.made = made
	}
}

// Changed is what ChangeSession makes.
type Changed struct {
	Session *callbackd.Session
	Events  []*callbackd.Event
}

// Answers keeps the answers that idempotency keys stand for. Every command that
// changes something of an API key takes a [Once] with its context.
type Answers interface {
	// Answered returns the error that a command with o would return instead
	// of running; nil when it would run.
	Answered(ctx context.Context, o *Once) error
	// SweepAnswers removes up to limit answers from before the time and
	// returns how many.
	SweepAnswers(ctx context.Context, before time.Time, limit int) (int, error)
}

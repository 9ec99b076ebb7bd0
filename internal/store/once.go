package store

import (
	"context"
	"crypto/sha256"
	"time"

	"callbackd"
)

// Once makes a command run once for an idempotency key. The context of the command
// carries it. The store writes the change and the answer in one transaction. When the
// key has an answer already, the command does not run and fails with [Repeated].
type Once struct {
	Key    callbackd.KeyID
	Hash   []byte // of the method and path of the call, and of the idempotency key
	Digest []byte // of what the call sends
	At     time.Time
	// Show returns the answer for the result of the command. It runs in the
	// command's transaction, perhaps more than once, and must not call the store.
	// When it fails, the command fails and nothing is written.
	Show func(made any) (Answer, error)

	made any
}

// Answer is the answer to a call.
type Answer struct {
	Status int
	Body   []byte
}

// NewOnce returns the Once of a call. where is the method and path of the call, and sent
// is what it sends.
func NewOnce(key callbackd.KeyID, where, idempotencyKey string, sent []byte, at time.Time) *Once {
	hash, digest := sha256.Sum256([]byte(where+"\n"+idempotencyKey)), sha256.Sum256(sent)
	return &Once{Key: key, Hash: hash[:16], Digest: digest[:], At: at}
}

// Repeated is the error of a command that did not run, with the first answer.
type Repeated struct{ Answer }

// Error is part of error.
func (*Repeated) Error() string { return "the idempotency key has an answer" }

// ErrOtherCall means that an idempotency key was used for another call before.
var ErrOtherCall = callbackd.Errorf(callbackd.KindConflict, "This idempotency key was used with another body; use a new key for a new call.")

// ErrErasedAnswer means that the answer that an idempotency key stands for was erased.
var ErrErasedAnswer = callbackd.Errorf(callbackd.KindConflict, "The call with this idempotency key was made, and its answer was erased with the data of its session; it is not made again.")

// Again returns the error of a command that does not run, because the key has a stored
// answer to a call with this digest.
func (o *Once) Again(digest []byte, a Answer) error {
	if string(digest) != string(o.Digest) {
		return ErrOtherCall
	}
	return callbackd.Wrap(callbackd.KindConflict, &Repeated{a}, "repeated")
}

// Answer returns the answer of the command, which has run.
func (o *Once) Answer() (Answer, error) {
	if o.made == nil {
		return Answer{}, callbackd.Errorf(callbackd.KindInternal, "the command has no answer")
	}
	return o.Show(o.made)
}

type onceKey struct{}

// WithOnce returns a context that carries o to a command.
func WithOnce(ctx context.Context, o *Once) context.Context {
	return context.WithValue(ctx, onceKey{}, o)
}

// OnceOf returns the Once of a context, or nil when it has none.
func OnceOf(ctx context.Context) *Once {
	o, _ := ctx.Value(onceKey{}).(*Once)
	return o
}

// Made remembers the result of a command, within its transaction. The result is what
// the method returns, or [Changed].
func Made(ctx context.Context, made any) { OnceOf(ctx).Made(made) }

// Made remembers the result of the command. It does nothing when o is nil.
func (o *Once) Made(made any) {
	if o != nil {
		o.made = made
	}
}

// Changed is the result of CreateSession and ChangeSession.
type Changed struct {
	Session *callbackd.Session
	Events  []*callbackd.Event
	// Callback is the one that the creation of a session gave it; nil without one.
	Callback *callbackd.Callback
}

// Answers stores the answers to calls with an idempotency key. Every command that
// changes something of an API key accepts a [Once] in its context.
type Answers interface {
	// Answered returns the error that a command with o would return instead
	// of running; nil when it would run.
	Answered(ctx context.Context, o *Once) error
}

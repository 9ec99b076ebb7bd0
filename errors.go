package callbackd

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind classifies an [Error]. The set is closed. One place turns a kind into an
// HTTP status, for the API and the console, and one into an exit code of the
// command line.
type Kind uint8

// The kinds of error. The zero value is an internal fault.
const (
	KindInternal     Kind = iota // a fault of callbackd itself
	KindInvalid                  // the request is wrong and will stay wrong
	KindUnauthorized             // the caller did not prove who they are
	KindNotFound                 // no such object for this API key
	KindConflict                 // the request contradicts what is stored
	KindTooLarge                 // the request is over a named limit
	KindLimited                  // the caller asks too often; try again later
	KindUnavailable              // the store cannot take it now; try again later
	KindSlow                     // the request did not arrive in time; try again
	KindGone                     // the object existed, but is no longer stored
	KindUnsupported              // the body has an encoding that is not supported
	KindSetting                  // a setting is wrong; a restart does not help
	KindForbidden                // the caller is known, and may not do this
)

// Error is an error with a [Kind] and a sentence for the person who gets it.
// The sentence says what to do next. It never contains a secret.
type Error struct {
	Kind    Kind
	Message string
	// Limit is the limit that was reached, and RetryAfter how long it will probably
	// take until the same call succeeds. They are empty when that is not known.
	Limit      Limit
	RetryAfter time.Duration
	cause      error // for the log only
}

// Error returns the message, with the cause when there is one.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.cause }

// Errorf builds an [Error] without a cause.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Invalid builds an [Error] for a request that is wrong and will stay wrong.
func Invalid(format string, args ...any) error { return Errorf(KindInvalid, format, args...) }

// Wrap builds an [Error] with a cause. The caller sees the message only; the
// log has both.
func Wrap(k Kind, cause error, message string) error {
	return &Error{Kind: k, Message: message, cause: cause}
}

// KindOf returns the kind of the first [Error] in err's chain, or KindInternal
// when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// LimitOf returns the limit of the first [Error] in err's chain, and its RetryAfter in
// whole seconds, 1 at least.
func LimitOf(err error) (l Limit, seconds int64) {
	seconds = 1
	if e, ok := errors.AsType[*Error](err); ok {
		l, seconds = e.Limit, max(1, int64((e.RetryAfter+time.Second-1)/time.Second))
	}
	return l, seconds
}

// InternalText is the message that callers get for a fault of callbackd itself.
const InternalText = "callbackd failed. The operator's log has the reason."

// Sentence returns the message of an error as a sentence for people, or [InternalText]
// when it has none. A message about an invalid request may begin with the name of a
// field, which keeps its spelling.
func Sentence(err error) string {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Message == "" {
		return InternalText
	}
	s := e.Message
	if e.Kind != KindInvalid {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if strings.HasSuffix(s, ".") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}

package callbackd

import (
	"errors"
	"fmt"
)

// Kind classifies an [Error]. The set is closed: one place (internal/api)
// turns a kind into an HTTP status, one place logs.
type Kind uint8

// The kinds of error. The zero value is an internal fault.
const (
	KindInternal     Kind = iota // a fault of callbackd itself
	KindInvalid                  // the request is wrong and will stay wrong
	KindUnauthorized             // the caller did not prove who they are
	KindNotFound                 // no such object for this API key
	KindConflict                 // contradicts what is stored
	KindTooLarge                 // over a named limit
	KindLimited                  // too often; try again later
	KindUnavailable              // the store cannot take it now; try again later
	KindSlow                     // the request did not arrive in time; try again
	KindGone                     // what was asked for is not kept any more
	KindUnsupported              // the body is encoded in a way that is not read
	KindSetting                  // a setting cannot be: starting again does not help
)

// Error is an error with a [Kind] and a sentence for the person who gets it.
// The sentence says what to do next and never carries a secret.
type Error struct {
	Kind    Kind
	Message string
	cause   error // for the log only
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

// Wrap builds an [Error] that hides cause from the caller but keeps it for
// the log.
func Wrap(k Kind, cause error, message string) error {
	return &Error{Kind: k, Message: message, cause: cause}
}

// KindOf is the kind of the first [Error] in err's chain, and KindInternal
// when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Package callbackd is the domain of the callback service: events, callbacks,
// deliveries, attempts and sessions, and the rules that decide what happens next.
//
// It imports the standard library only and does no I/O. The rules are pure functions
// of their arguments, including the time, so that production, tests and simulations
// decide alike.
//
// The glossary in docs/architecture.md defines the words.
package callbackd

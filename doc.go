// Package callbackd is the domain of the callback service: what an event, a
// callback, a delivery and an attempt are, and the rules that decide what
// happens to a delivery next.
//
// It imports the standard library only and does no I/O. The rules are pure
// functions of their arguments, time included, so that the same inputs give
// the same decision in production, in a table test and in a simulation.
//
// The words are used as the glossary in docs/architecture.md defines them.
package callbackd

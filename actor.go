package callbackd

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Actor is who makes a change, and from where. Whoever takes a call, a form or a command
// puts it into the context of the store's commands.
type Actor struct {
	Kind ActorKind
	// Name tells actors of one kind apart: the API key, the name of an operator token,
	// the user of the command line, the origin of a receiver. It is empty where there is
	// one actor only.
	Name string
	// Address is where the actor is: an IP address, or the name of the machine on which
	// a command runs. It is empty when there is none.
	Address string
}

// ActorKind is the kind of an actor.
type ActorKind string

// The kinds of actors.
const (
	ActorKey       ActorKind = "api_key"         // a signed call
	ActorKeyHolder ActorKind = "api_key_console" // signed in to the console with an API key
	ActorLink      ActorKind = "console_link"    // signed in to the console by a link of the operator; the name is the role
	ActorOperator  ActorKind = "operator"        // signed in to the console
	ActorToken     ActorKind = "operator_token"  // a call with an operator token
	ActorCommand   ActorKind = "command_line"    // a command that opens the store
	ActorReceiver  ActorKind = "receiver"        // asked with its answer: see [Control]
	ActorSystem    ActorKind = "callbackd"       // a rule of callbackd, such as [PausedNoAnswer]
	ActorUnknown   ActorKind = "unknown"         // nobody said who it is, which is a bug
)

// ActorKinds lists the kinds.
var ActorKinds = []ActorKind{ActorKey, ActorKeyHolder, ActorLink, ActorOperator, ActorToken, ActorCommand, ActorReceiver, ActorSystem, ActorUnknown}

// MaxActorText is how long the name and the address of an actor may be, in bytes. What is
// longer is cut off.
const MaxActorText = 200

// Clipped returns a with texts that can be stored: valid UTF-8 without NUL, within
// MaxActorText. Without a kind it is unknown.
func (a Actor) Clipped() Actor {
	if a.Kind == "" {
		a.Kind = ActorUnknown
	}
	a.Name, a.Address = clipStored(a.Name, MaxActorText), clipStored(a.Address, MaxActorText)
	return a
}

// Valid reports whether k is one of ActorKinds.
func (k ActorKind) Valid() bool { return slices.Contains(ActorKinds, k) }

// actorNames are the kinds as people read them.
var actorNames = map[ActorKind]string{
	ActorKey:       "API key",
	ActorKeyHolder: "API key, in the console",
	ActorLink:      "console link",
	ActorOperator:  "operator",
	ActorToken:     "operator token",
	ActorCommand:   "command line",
	ActorReceiver:  "receiver",
	ActorSystem:    "callbackd",
	ActorUnknown:   "unknown",
}

// IsOperator reports whether such an actor runs this callbackd, and does not belong to an
// API key.
func (k ActorKind) IsOperator() bool {
	return k == ActorOperator || k == ActorToken || k == ActorCommand
}

// String returns the kind as people read it.
func (k ActorKind) String() string { return actorNames[k] }

// String returns the actor in one line, such as "operator token ci from 192.0.2.7".
func (a Actor) String() string {
	text := a.Kind.String()
	if a.Name != "" {
		text += " " + a.Name
	}
	if a.Address != "" {
		text += " from " + a.Address
	}
	return text
}

// clipStored returns a text that every store can have: valid UTF-8 without NUL, at most
// limit bytes.
func clipStored(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) && !strings.Contains(s, "\x00") {
		return s
	}
	out := make([]rune, 0, min(len(s), limit))
	size := 0
	for _, r := range s {
		if r == 0 {
			r = utf8.RuneError
		}
		if size += utf8.RuneLen(r); size > limit {
			break
		}
		out = append(out, r)
	}
	return string(out)
}

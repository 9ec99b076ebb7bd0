package callbackd

import "strings"

// Control is what a receiver asks for in the header callback-control of its answer.
type Control struct {
	Stop  bool // no further attempt of this delivery
	Pause bool // nothing more to the callback, until a person resumes it
}

// WhyStopped is why a delivery failed whose receiver asked for [Control.Stop].
const WhyStopped = "the receiver wants no further attempt of this delivery (callback-control: stop)"

// ParseControl reads the header: "stop", "pause", or both with a comma between them, in
// capitals or not. It ignores other words, so that later versions can have more.
func ParseControl(header string) (c Control) {
	for word := range strings.SplitSeq(header, ",") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "stop":
			c.Stop = true
		case "pause":
			c.Pause = true
		}
	}
	return c
}

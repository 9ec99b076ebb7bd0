package view

import (
	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

// LastFailure says how the receiver of a callback last failed, and when; empty
// when it never did, or succeeded since.
func LastFailure(r *store.Receiver) string {
	if r.LastFailure.IsZero() || r.LastSuccess.After(r.LastFailure) || r.LastFault == callbackd.NoFault {
		return ""
	}
	return callbackd.FailureText(r.LastFault, r.LastStatus) + " at " + humanize.Time(r.LastFailure)
}

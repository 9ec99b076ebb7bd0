package view

import (
	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

// LastFailure says how and when the receiver of a callback last failed. It is empty when
// the receiver has never failed or has succeeded since.
func LastFailure(r *store.Receiver) string {
	if r.LastFailure.IsZero() || r.LastSuccess.After(r.LastFailure) || r.LastFault == callbackd.NoFault {
		return ""
	}
	return callbackd.FailureText(r.LastFault, r.LastStatus) + " at " + humanize.Time(r.LastFailure)
}

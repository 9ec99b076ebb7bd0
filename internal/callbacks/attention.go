package callbacks

import (
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

// When a callback needs attention although it neither fails nor is paused.
const (
	oldPending = 15 * time.Minute // a delivery has been waiting for so long
	// CertSoon is how long before its end an expiring certificate is reported.
	CertSoon = 14 * 24 * time.Hour
)

// Attention returns why a callback needs attention, the worst reason first. It returns
// nothing when the callback needs none.
func Attention(h *store.CallbackHealth, now time.Time) (why []string) {
	cb := h.Callback
	if !cb.FailingSince.IsZero() {
		s := "has been failing for " + humanize.Duration(now.Sub(cb.FailingSince))
		if last := callbackd.FailureText(h.LastFault, h.LastStatus); last != "" {
			s += ": " + last
		}
		why = append(why, s)
	}
	if cb.Paused() {
		why = append(why, "has been paused for "+humanize.Duration(now.Sub(cb.Pause.At)))
	}
	if !h.Since.IsZero() {
		if age := now.Sub(h.Since); age >= oldPending {
			why = append(why, "a delivery has been waiting for "+humanize.Duration(age))
		}
	}
	if !h.CertNotAfter.IsZero() && h.CertNotAfter.Before(now.Add(CertSoon)) {
		if left := h.CertNotAfter.Sub(now); left > 0 {
			why = append(why, "the receiver's certificate expires in "+humanize.Duration(left))
		} else {
			why = append(why, "the receiver's certificate has expired")
		}
	}
	if ends := ClientCertEnds(cb); !ends.IsZero() && ends.Before(now.Add(CertSoon)) {
		if left := ends.Sub(now); left > 0 {
			why = append(why, "its client certificate expires in "+humanize.Duration(left))
		} else {
			why = append(why, "its client certificate has expired")
		}
	}
	return why
}

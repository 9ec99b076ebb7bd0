package callbacks

import (
	"fmt"
	"time"

	"callbackd/internal/store"
)

// When a callback that neither fails nor is paused needs somebody.
const (
	oldPending = 15 * time.Minute // something waits so long
	// CertSoon: the receiver's certificate ends so soon.
	CertSoon = 14 * 24 * time.Hour
)

// Attention is why a callback needs somebody, the worst first; empty when it
// does not.
func Attention(h *store.CallbackHealth, now time.Time) (why []string) {
	cb := h.Callback
	days := func(d time.Duration) string {
		switch {
		case d >= 48*time.Hour:
			return fmt.Sprintf("%d days", d/(24*time.Hour))
		case d >= 2*time.Hour:
			return fmt.Sprintf("%d hours", d/time.Hour)
		case d >= 2*time.Minute:
			return fmt.Sprintf("%d minutes", d/time.Minute)
		}
		return "a minute"
	}
	if !cb.FailingSince.IsZero() {
		s := "has been failing for " + days(now.Sub(cb.FailingSince))
		switch {
		case h.LastStatus != 0:
			s += fmt.Sprintf(": it last answered %d", h.LastStatus)
		case h.LastFault != "":
			s += ": " + string(h.LastFault)
		}
		why = append(why, s)
	}
	if cb.Paused() {
		why = append(why, "is paused since "+days(now.Sub(cb.Pause.At)))
	}
	if !h.Since.IsZero() {
		if age := now.Sub(h.Since); age >= oldPending {
			why = append(why, "the oldest pending delivery has been waiting for "+days(age))
		}
	}
	if !h.CertNotAfter.IsZero() && h.CertNotAfter.Before(now.Add(CertSoon)) {
		if left := h.CertNotAfter.Sub(now); left > 0 {
			why = append(why, "the receiver's certificate ends in "+days(left))
		} else {
			why = append(why, "the receiver's certificate has ended")
		}
	}
	return why
}

package callbacks

import (
	"callbackd"
	"callbackd/internal/request"
)

// Reason reads the reason of a cancellation of pending deliveries.
func Reason(to *string) request.Field {
	return request.Text("reason", to, callbackd.MaxCancelReason).Check(func(string) error {
		if !callbackd.ValidReason(*to) {
			return callbackd.Invalid("reason has a character that cannot be printed.")
		}
		return nil
	})
}

package front

import (
	"net/http"

	"callbackd"
)

var statuses = map[callbackd.Kind]int{
	callbackd.KindInvalid:      http.StatusBadRequest,
	callbackd.KindUnauthorized: http.StatusUnauthorized,
	callbackd.KindForbidden:    http.StatusForbidden,
	callbackd.KindNotFound:     http.StatusNotFound,
	callbackd.KindConflict:     http.StatusConflict,
	callbackd.KindTooLarge:     http.StatusRequestEntityTooLarge,
	callbackd.KindLimited:      http.StatusTooManyRequests,
	callbackd.KindUnavailable:  http.StatusServiceUnavailable,
	callbackd.KindSlow:         http.StatusRequestTimeout,
	callbackd.KindGone:         http.StatusGone,
	callbackd.KindUnsupported:  http.StatusUnsupportedMediaType,
}

// Status returns the HTTP status of an error, by its kind. It is the only place
// that turns a kind into a status. Errors of any other kind are the server's
// own.
func Status(err error) int {
	if status := statuses[callbackd.KindOf(err)]; status != 0 {
		return status
	}
	return http.StatusInternalServerError
}

package app

import (
	"log/slog"

	"callbackd/internal/egress"
	"callbackd/internal/sender"
	"callbackd/internal/view"
)

// Preview returns how to build the requests of attempts for a command that shows them and
// sends none.
func Preview() view.Preview {
	return sender.New(egress.NewTransport(egress.Options{}), Version, slog.New(slog.DiscardHandler)).Request
}

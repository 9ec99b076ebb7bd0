package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"callbackd/internal/app"
	"callbackd/internal/system"
)

// notifySignals keeps a server running when the reader of its output is gone (SIGPIPE),
// when its terminal closes, and when a tool asks it to reopen its log. Only SIGTERM and
// SIGINT stop it.
func notifySignals() <-chan os.Signal {
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, append(system.UserSignals, syscall.SIGHUP)...)
	return signals
}

// handleSignals reads the keyset again on SIGHUP, until ctx ends.
func handleSignals(ctx context.Context, signals <-chan os.Signal, a *app.App, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s != syscall.SIGHUP {
				log.Info("signal ignored: there is no file to reopen; SIGHUP reads the keyset again, and SIGTERM stops callbackd", "signal", s.String())
				continue
			}
			if err := a.Reload(ctx); err != nil {
				log.Error("the keyset is not read again", "error", err)
				continue
			}
			log.Info("signal received: the keyset file was looked at again; there is no other configuration to reload", "signal", s.String())
		}
	}
}

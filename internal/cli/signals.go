package cli

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// ignoreSignals keeps a server running when the reader of its output is gone
// (SIGPIPE), when its terminal closes, and when a tool asks it to reopen its log.
// Only SIGTERM and SIGINT stop it.
func ignoreSignals(log *slog.Logger) {
	signal.Ignore(syscall.SIGPIPE)
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range ignored {
			log.Info("signal ignored: there is no configuration to reload and no file to reopen; SIGTERM stops callbackd", "signal", s.String())
		}
	}()
}

package cli

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// outliveReaders keeps a server alive when whoever reads its output is gone
// (SIGPIPE), its terminal is closed, or a tool asks it to open its log again:
// only SIGTERM and SIGINT stop it.
func outliveReaders(log *slog.Logger) {
	signal.Ignore(syscall.SIGPIPE)
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range ignored {
			log.Info("signal ignored: there is nothing to load or to open again; SIGTERM stops callbackd", "signal", s.String())
		}
	}()
}

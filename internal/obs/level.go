package obs

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

var levels = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

// LevelNames returns the names that [ParseLevel] reads.
func LevelNames() []string {
	names := make([]string, len(levels))
	for i, l := range levels {
		names[i] = LevelName(l)
	}
	return names
}

// ParseLevel reads the name of a log level: debug, info, warn or error.
func ParseLevel(name string) (slog.Level, error) {
	for _, l := range levels {
		if name == LevelName(l) {
			return l, nil
		}
	}
	return 0, fmt.Errorf("log level %q is unknown; give debug, info, warn or error", name)
}

// LevelName returns the name of a log level.
func LevelName(l slog.Level) string { return strings.ToLower(l.String()) }

// maxRecent is how many lines a [Recent] keeps.
const maxRecent = 20

// Recent keeps the last log lines about faults, for the status of a server. Lines about the
// same fault are kept once, with their number.
type Recent struct {
	mu    sync.Mutex
	lines []Line // the last one last
}

// Line is a fault that was logged.
type Line struct {
	At      time.Time // when it was logged last
	Level   slog.Level
	Message string
	Error   string // the value of its key error; empty without one
	Count   int
}

// Lines returns the lines, the last one first.
func (r *Recent) Lines() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Line, 0, len(r.lines))
	for i := len(r.lines) - 1; i >= 0; i-- {
		out = append(out, r.lines[i])
	}
	return out
}

func (r *Recent) add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, old := range r.lines {
		if old.Message == l.Message && old.Error == l.Error {
			l.Count += old.Count
			r.lines = append(r.lines[:i], r.lines[i+1:]...)
			break
		}
	}
	if len(r.lines) == maxRecent {
		r.lines = append(r.lines[:0], r.lines[1:]...)
	}
	r.lines = append(r.lines, l)
}

// Keep returns a logger that logs as log does. Its lines of the levels warn and error are
// kept too, also when log leaves them out.
func (r *Recent) Keep(log *slog.Logger) *slog.Logger { return slog.New(keeper{log.Handler(), r}) }

type keeper struct {
	slog.Handler
	recent *Recent
}

// Enabled is part of slog.Handler.
func (k keeper) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || k.Handler.Enabled(ctx, l)
}

// maxKept is how many bytes of an error are kept.
const maxKept = 500

// Handle is part of slog.Handler.
func (k keeper) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		l := Line{At: r.Time, Level: r.Level, Message: r.Message, Count: 1}
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "error" {
				l.Error = a.Value.String()
				l.Error = strings.ToValidUTF8(l.Error[:min(len(l.Error), maxKept)], "")
			}
			return true
		})
		k.recent.add(l)
	}
	if !k.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return k.Handler.Handle(ctx, r)
}

// WithAttrs is part of slog.Handler.
func (k keeper) WithAttrs(attrs []slog.Attr) slog.Handler {
	return keeper{k.Handler.WithAttrs(attrs), k.recent}
}

// WithGroup is part of slog.Handler.
func (k keeper) WithGroup(name string) slog.Handler {
	return keeper{k.Handler.WithGroup(name), k.recent}
}

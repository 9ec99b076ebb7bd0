package obs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// NewLogger makes a logger. format is text or json. level is the lowest level that is
// logged, which may change.
func NewLogger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q is unknown; give text or json", format)
}

// maxBuffered is how many bytes of log lines wait for a slow reader.
const maxBuffered = 1 << 20

// LogBuffer passes log lines on to a file or pipe. Write never waits: when the
// reader of the pipe is slow or gone, lines are dropped and counted, so that the
// log blocks nothing.
type LogBuffer struct {
	out     io.Writer
	dropped atomic.Int64 // lines, since the start
	more    chan struct{}

	mu     sync.Mutex
	lines  [][]byte
	size   int           // bytes of lines
	lost   int           // lines dropped since report was last called
	failed bool          // the last line could not be written
	closed bool          // further lines are dropped
	idle   chan struct{} // closed when every line is written; nil: nobody waits
	report func(lost int)
}

// NewLogBuffer makes a buffer that writes to out.
func NewLogBuffer(out io.Writer) *LogBuffer {
	b := &LogBuffer{out: out, more: make(chan struct{}, 1), report: func(int) {}}
	go b.run()
	return b
}

// ReportDropped logs how many lines were dropped, as soon as lines are read
// again. log must write to b.
func (b *LogBuffer) ReportDropped(log *slog.Logger) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.report = func(lost int) {
		log.Warn("log lines were dropped: their reader was gone or too slow", "lines", lost)
	}
}

// Dropped returns the number of lines that were dropped.
func (b *LogBuffer) Dropped() int64 { return b.dropped.Load() }

// Write takes one line. It never fails.
func (b *LogBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.size+len(line) > maxBuffered {
		b.drop()
		return len(line), nil
	}
	b.lines = append(b.lines, slices.Clone(line))
	b.size += len(line)
	b.wake()
	return len(line), nil
}

func (b *LogBuffer) wake() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (b *LogBuffer) drop() {
	b.lost++
	b.dropped.Add(1)
}

// run writes the lines in the buffer to out.
func (b *LogBuffer) run() {
	for range b.more {
		for line := b.next(); line != nil; line = b.next() {
			_, err := b.out.Write(line)
			b.mu.Lock()
			if b.failed = err != nil; b.failed {
				b.drop()
			}
			b.mu.Unlock()
		}
	}
}

// next removes and returns the oldest line; nil when there is none.
func (b *LogBuffer) next() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines) == 0 {
		if b.lost > 0 && !b.failed && !b.closed {
			go b.report(b.lost) // which writes to this buffer
			b.lost = 0
		}
		if b.idle != nil {
			close(b.idle)
			b.idle = nil
		}
		return nil
	}
	line := b.lines[0]
	b.lines[0] = nil
	b.lines = b.lines[1:]
	b.size -= len(line)
	return line
}

// Close waits until every line is written, but no longer than wait. Later lines
// are dropped.
func (b *LogBuffer) Close(wait time.Duration) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	b.closed, b.idle = true, idle
	b.wake()
	b.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(wait):
	}
}

// Limit returns a logger that logs each of the messages at most once in every interval.
// The next line says in "suppressed" how many lines of the message were left out. Other
// messages are not limited.
func Limit(log *slog.Logger, interval time.Duration, messages ...string) *slog.Logger {
	return slog.New(&limiter{
		Handler: log.Handler(), interval: interval, messages: messages,
		seen: &seen{at: map[string]time.Time{}, suppressed: map[string]int{}},
	})
}

// limiter is a handler that leaves out lines of some messages.
type limiter struct {
	slog.Handler
	interval time.Duration
	messages []string
	seen     *seen // shared by the handlers of WithAttrs and WithGroup
}

// seen holds when a message was logged last, and how many of its lines were left
// out since.
type seen struct {
	mu         sync.Mutex
	at         map[string]time.Time
	suppressed map[string]int
}

// pass reports whether a line of a message is logged at a time, and how many were
// left out before it.
func (s *seen) pass(message string, at time.Time, interval time.Duration) (suppressed int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.at[message]
	if known && at.Sub(last) < interval {
		s.suppressed[message]++
		return 0, false
	}
	suppressed = s.suppressed[message]
	s.at[message], s.suppressed[message] = at, 0
	return suppressed, true
}

// Handle is part of slog.Handler.
func (h *limiter) Handle(ctx context.Context, r slog.Record) error {
	if slices.Contains(h.messages, r.Message) {
		n, ok := h.seen.pass(r.Message, r.Time, h.interval)
		if !ok {
			return nil
		}
		if n > 0 {
			r.AddAttrs(slog.Int("suppressed", n))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is part of slog.Handler.
func (h *limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(attrs)
	return &c
}

// WithGroup is part of slog.Handler.
func (h *limiter) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithGroup(name)
	return &c
}

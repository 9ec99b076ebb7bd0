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

// NewLogger makes the logger. format is text or json, level one of slog's.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is not debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format %q is not text or json", format)
}

// maxBuffered bounds the bytes of log lines that wait for whoever reads them.
const maxBuffered = 1 << 20

// LogBuffer stands between the loggers and the file or pipe that takes their
// lines. Write never waits: when the reader of the pipe has stopped reading, or
// is gone, lines are dropped and counted, so that a log holds up nothing.
type LogBuffer struct {
	out     io.Writer
	dropped atomic.Int64 // lines, since the start
	more    chan struct{}

	mu     sync.Mutex
	lines  [][]byte
	size   int           // bytes of lines
	lost   int           // lines dropped that no line told of yet
	failed bool          // the last line was not written
	closed bool          // takes no lines any more
	idle   chan struct{} // closed when everything was written; nil: nobody waits
	tell   func(lost int)
}

// NewLogBuffer makes a buffer before out.
func NewLogBuffer(out io.Writer) *LogBuffer {
	b := &LogBuffer{out: out, more: make(chan struct{}, 1), tell: func(int) {}}
	go b.run()
	return b
}

// Tell says with log, which writes to b, how many lines were dropped once lines
// are read again.
func (b *LogBuffer) Tell(log *slog.Logger) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell = func(lost int) {
		log.Warn("log lines were dropped: whoever reads them was gone or did not keep up", "lines", lost)
	}
}

// Dropped is the number of lines that were not written.
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

// run writes what Write took.
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

// next takes the oldest line; nil when there is none.
func (b *LogBuffer) next() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines) == 0 {
		if b.lost > 0 && !b.failed && !b.closed {
			go b.tell(b.lost) // it writes to this buffer
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

// Close writes what waits, for as long as wait at most. Later lines are
// dropped.
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

// Limit returns a logger like log that says each of the messages once in every
// time only, with the number of times that it was not said before. Other
// messages are said as they come.
func Limit(log *slog.Logger, every time.Duration, messages ...string) *slog.Logger {
	return slog.New(&seldom{Handler: log.Handler(), every: every, messages: messages, said: &said{at: map[string]time.Time{}, kept: map[string]int{}}})
}

type seldom struct {
	slog.Handler
	every    time.Duration
	messages []string
	said     *said
}

// said is when a message was said last, and how often it was kept back since.
type said struct {
	mu   sync.Mutex
	at   map[string]time.Time
	kept map[string]int
}

// Handle is part of slog.Handler.
func (h *seldom) Handle(ctx context.Context, r slog.Record) error {
	if slices.Contains(h.messages, r.Message) {
		h.said.mu.Lock()
		last, known := h.said.at[r.Message]
		if known && r.Time.Sub(last) < h.every {
			h.said.kept[r.Message]++
			h.said.mu.Unlock()
			return nil
		}
		if n := h.said.kept[r.Message]; n > 0 {
			r.AddAttrs(slog.Int("more_since_the_last_line", n))
		}
		h.said.at[r.Message], h.said.kept[r.Message] = r.Time, 0
		h.said.mu.Unlock()
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is part of slog.Handler.
func (h *seldom) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(attrs)
	return &c
}

// WithGroup is part of slog.Handler.
func (h *seldom) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithGroup(name)
	return &c
}

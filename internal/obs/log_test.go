package obs

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reader reads the log's lines, unless it is stuck or gone.
type reader struct {
	mu   sync.Mutex
	open chan struct{} // closed: it reads
	gone bool
	got  bytes.Buffer
}

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	<-open
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, errors.New("broken pipe")
	}
	return r.got.Write(b)
}

func logger(t *testing.T, w io.Writer) *slog.Logger {
	t.Helper()
	log, err := NewLogger(w, "text", slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// A reader that does not read blocks nobody and costs a bounded amount of memory.
// Dropped lines are counted, and reported when it reads again.
func TestAStuckLogReaderBlocksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{open: make(chan struct{})}
		b := NewLogBuffer(r)
		log := logger(t, b)
		b.ReportDropped(log)
		line := strings.Repeat("x", 1000)
		for range 2000 { // two MiB, and none of it waits
			log.Info(line)
		}
		dropped := b.Dropped()
		if b.size > maxBuffered {
			t.Errorf("%d bytes are held, want %d at most", b.size, maxBuffered)
		}
		if dropped < 900 || dropped > 1100 {
			t.Errorf("%d lines were dropped, want 900 to 1,100", dropped)
		}
		close(r.open)
		synctest.Wait()
		log.Info("after")
		synctest.Wait()
		text := r.got.String()
		if n, want := strings.Count(text, line), 2000-dropped; int64(n) != want {
			t.Errorf("%d lines were written, want %d", n, want)
		}
		rest := strings.ReplaceAll(text, line, "")
		if said := "lines=" + slog.Int64Value(dropped).String(); !strings.Contains(text, said) {
			t.Errorf("no line says %q: …%s", said, rest[max(0, len(rest)-300):])
		}
		if !strings.Contains(text, "after") {
			t.Errorf("the line after them was not written: …%s", rest[max(0, len(rest)-300):])
		}
		b.Close(time.Second)
		close(b.more)
	})
}

// Lines for a reader that is gone are counted, and reported to the next reader.
func TestALogReaderThatIsGoneIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{open: make(chan struct{}), gone: true}
		close(r.open)
		b := NewLogBuffer(r)
		log := logger(t, b)
		b.ReportDropped(log)
		for range 3 {
			log.Info("into the void")
			synctest.Wait()
		}
		if b.Dropped() != 3 {
			t.Errorf("%d lines dropped, want 3", b.Dropped())
		}
		r.mu.Lock()
		r.gone = false
		r.mu.Unlock()
		log.Info("heard")
		synctest.Wait()
		text := r.got.String()
		if !strings.Contains(text, "heard") {
			t.Errorf("the line was not written: %s", text)
		}
		if !strings.Contains(text, "lines=3") {
			t.Errorf("no line says that 3 lines were dropped: %s", text)
		}
		if n := b.Dropped(); n != 3 {
			t.Errorf("%d lines were dropped, want 3", n)
		}
		b.Close(time.Second)
		close(b.more)
	})
}

// Close waits for a reader, but not forever.
func TestALogBufferEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{open: make(chan struct{})}
		b := NewLogBuffer(r)
		logger(t, b).Info("last words")
		start := time.Now()
		b.Close(time.Second)
		if took := time.Since(start); took != time.Second || r.got.Len() > 0 {
			t.Errorf("it took %v, and the stuck reader got %q", took, r.got.String())
		}
		close(r.open)
		synctest.Wait()
		if !strings.Contains(r.got.String(), "last words") {
			t.Error("the line is lost")
		}
		close(b.more)
	})
}

func TestALimitedMessageIsLoggedOnceInAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		log := Limit(logger(t, &got), time.Minute, "again").With("a", 1)
		for range 150 {
			log.Error("again")
			log.Error("other")
			time.Sleep(time.Second)
		}
		text := got.String()
		for what, want := range map[string]int{"msg=again": 3, "suppressed=59": 2, "msg=other": 150} {
			if n := strings.Count(text, what); n != want {
				t.Errorf("%d lines have %s, want %d:\n%s", n, what, want, text[:300])
			}
		}
	})
}

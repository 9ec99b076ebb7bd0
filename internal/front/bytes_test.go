package front

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
)

// A body uses memory as it arrives, not by its declared length. A declared length
// above the limit is refused before anything is read.
func TestABodyTakesMemoryAsItArrives(t *testing.T) {
	result := make(chan string, 1)
	s := start(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if err := BeginCall(r, "key", Write); err != nil {
			t.Error(err)
		}
		b, err := ReadBody(w, r, 1<<20)
		result <- fmt.Sprint(len(b), err)
	})
	c := s.dial()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n%s", strings.Repeat("x", 5000))
	var m counting
	r := httptest.NewRequest("POST", "/", nil)
	go func() {
		_, err := ReadAll(r, &m, 1<<20)
		result <- err.Error()
	}()
	if got := <-result; got != "enough" {
		t.Fatal(got)
	}
	if m.most > 8<<10 {
		t.Errorf("5,000 bytes of a declared MiB were read into a buffer with %d free", m.most)
	}
	c.Close()
	if got := <-result; !strings.HasPrefix(got, "0 ") {
		t.Errorf("the body that was cut off: %s", got)
	}
	c = s.dial()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n") // and no body
	if got := <-result; got != "0 "+ErrTooLarge.Error() {
		t.Errorf("too large: %s", got)
	}
}

// counting gives 5,000 bytes in small pieces and notes how much it is asked for.
type counting struct{ given, most int }

func (c *counting) Read(p []byte) (int, error) {
	c.most = max(c.most, len(p))
	if c.given >= 5000 {
		return 0, errors.New("enough")
	}
	n := min(100, len(p))
	c.given += n
	return n, nil
}

// Bodies of one key hold its share and no more. Other keys have room, and the
// operator has room when nobody else has.
func TestBytesInMemoryHaveABudget(t *testing.T) {
	b := budget{total: 800, share: 300, name: "bodies"}
	if err := b.acquire("a", 500); err != nil {
		t.Errorf("a first one that is larger than the share: %v", err)
	}
	if err := b.acquire("a", 1); callbackd.KindOf(err) != callbackd.KindLimited {
		t.Errorf("beyond the share: %v", err)
	}
	if err := b.acquire("b", 200); err != nil {
		t.Errorf("another key: %v", err)
	}
	if err := b.acquire("c", 1); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("when only the reserve is left: %v", err)
	}
	if err := b.acquire(Operator, 100); err != nil {
		t.Errorf("the operator: %v", err)
	}
	b.release("a", 500)
	if err := b.acquire("c", 1); err != nil {
		t.Errorf("after some were released: %v", err)
	}
	b.release("b", 200)
	b.release("c", 1)
	b.release(Operator, 100)
	if b.held != 0 || len(b.byClient) != 0 {
		t.Errorf("%d bytes are never released: %v", b.held, b.byClient)
	}
}

// pipes is a listener of connections in memory.
type pipes struct{ conns chan net.Conn }

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A client that reads nothing loses its connection. One that reads slowly gets
// everything, however long that takes.
func TestAClientThatReadsNothingLosesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10 * pieceSize
		wrote := make(chan error, 1)
		f := New(Options{})
		server := &http.Server{ConnContext: ConnContext, WriteTimeout: 90 * time.Second, Handler: f.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := w.Write(make([]byte, size))
			wrote <- err
		}), func(*http.Request) bool { return false })}
		l := &pipes{make(chan net.Conn)}
		done := make(chan error, 1)
		go func() { done <- server.Serve(f.Listen(l)) }()
		open := func() net.Conn {
			here, there := net.Pipe()
			l.conns <- there
			io.WriteString(here, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			return here
		}

		begun := time.Now()
		deaf := open()
		if err := <-wrote; err == nil || time.Since(begun) > 2*pieceTimeout {
			t.Errorf("nothing was read: %v after %v", err, time.Since(begun))
		}
		deaf.Close()

		begun = time.Now()
		slow := open()
		res, err := http.ReadResponse(bufio.NewReaderSize(slow, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for buf := make([]byte, pieceSize/4); err == nil; {
			time.Sleep(pieceTimeout / 5)
			var m int
			m, err = io.ReadFull(res.Body, buf)
			n += m
		}
		if n != size || !errors.Is(err, io.EOF) {
			t.Errorf("a slow reader got %d bytes and %v; want %d and the end", n, err, size)
		}
		if took := time.Since(begun); took < 90*time.Second {
			t.Errorf("a slow reader took %v; want 90 s or more, otherwise the test proves nothing", took)
		}
		<-wrote
		slow.Close()
		close(l.conns)
		server.Close()
		<-done
	})
}

// deadlines is an answer that remembers its last deadline.
type deadlines struct {
	http.ResponseWriter
	last time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.last = t; return nil }

// A stream's own patience counts, however much it has sent before.
func TestPieceTimeoutReplacesTheDeadlineOfALargeAnswer(t *testing.T) {
	under := &deadlines{ResponseWriter: httptest.NewRecorder()}
	w := &writer{ResponseWriter: under}
	PieceTimeout(w, time.Hour)
	if _, err := w.Write(make([]byte, uncounted+1)); err != nil {
		t.Fatal(err)
	}
	if wait := time.Until(under.last); wait < 30*time.Minute {
		t.Errorf("the client has %v for the next piece, want an hour", wait)
	}
}

package home

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// silent is a connection on which nothing can be sent.
type silent struct{ net.Conn }

func (silent) Close() error { return nil }

// FuzzFrames reads frames that a node with the keys may send, and bytes that any program
// may send.
func FuzzFrames(f *testing.F) {
	key := make([]byte, 32)
	r := httptest.NewRequest("POST", "http://node/v1/events?x=%20", nil)
	r.Header = http.Header{"Api-Key": {"a"}, "X-Twice": {"b", ""}, "Connection": {"x-gone"}, "X-Gone": {"c"}}
	h := hop{at: 1_700_000_000, key: 7, client: netip.MustParseAddr("2001:db8::1"), secure: true}
	f.Add(appendCall(nil, h, r, []byte("body")))
	w := &answerWriter{number: 3, header: http.Header{"Content-Type": {"application/json"}}}
	w.Write([]byte("{}"))
	f.Add(w.out)
	f.Add([]byte{0, 0, 0, 17, 1, 2, 3})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, ok := parseCall(string(raw)); ok {
			again := &http.Request{Method: c.method, Host: c.host, Header: c.header, URL: r.URL}
			c2, ok := parseCall(string(appendCall(nil, c.hop, again, []byte(c.body))))
			if !ok {
				t.Fatalf("%+v is not read again", c)
			}
			if c2.hop != c.hop {
				t.Errorf("the hop %+v is read again as %+v", c.hop, c2.hop)
			}
			for _, part := range []struct{ what, got, want string }{
				{"method", c2.method, c.method}, {"host", c2.host, c.host}, {"body", c2.body, c.body},
			} {
				if part.got != part.want {
					t.Errorf("the %s %q is read again as %q", part.what, part.want, part.got)
				}
			}
		}
		if len(raw) > 0 {
			if got := httptest.NewRecorder(); passOnFrame(got, string(raw)) == answered && (got.Code < 200 || got.Code > 999) {
				t.Errorf("an answer with status %d", got.Code)
			}
		}
		var wire bytes.Buffer
		for _, prefix := range [][]byte{nil, {0, 0, 0, byte(len(raw))}} {
			wire.Write(append(prefix, raw...))
			c, err := newFrameConn(silent{}, &wire, maxFrame, key, key)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := c.read(); err == nil {
				t.Errorf("a frame without a seal is read as %q", text)
			}
			wire.Reset()
		}
	})
}

// Frames arrive unchanged and only in the order in which they were sent.
func TestFramesAreSealed(t *testing.T) {
	t.Parallel()
	calls, answers := bytes.Repeat([]byte("c"), 32), bytes.Repeat([]byte("a"), 32)
	texts := [][]byte{[]byte("x"), bytes.Repeat([]byte("y"), 100_000), bytes.Repeat([]byte("z"), maxFrame), []byte("w")}
	var frames [][]byte
	out, err := newFrameConn(recording{frames: &frames}, nil, maxFrame, answers, calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if _, err := out.send(text, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := out.send(make([]byte, maxFrame+1), false); err == nil {
		t.Error("a frame that is too large is sent")
	}
	read := func(open []byte, sent ...[]byte) (got [][]byte) {
		in, err := newFrameConn(silent{}, bytes.NewReader(bytes.Join(sent, nil)), maxFrame, open, calls)
		if err != nil {
			t.Fatal(err)
		}
		for {
			text, err := in.read()
			if err != nil {
				return got
			}
			got = append(got, bytes.Clone(text))
		}
	}
	if got := read(calls, frames...); !reflect.DeepEqual(got, texts) {
		t.Errorf("%d of %d frames arrive as they were sent", len(got), len(texts))
	}
	changed := bytes.Clone(frames[0])
	changed[len(changed)-1] ^= 1
	for what, got := range map[string][][]byte{
		"sent back":    read(answers, frames...),
		"left out":     read(calls, frames[1:]...),
		"changed":      read(calls, changed),
		"broken off":   read(calls, frames[0][:10]),
		"another pair": read(bytes.Repeat([]byte("d"), 32), frames...),
	} {
		if len(got) > 0 {
			t.Errorf("%s: %d frames are read", what, len(got))
		}
	}
	if got := read(calls, frames[0], frames[0]); len(got) != 1 {
		t.Errorf("a frame that is repeated is read %d times", len(got))
	}
}

// recording is a connection that records what is written to it.
type recording struct {
	silent
	frames *[][]byte
}

// SetWriteDeadline is part of net.Conn.
func (recording) SetWriteDeadline(time.Time) error { return nil }

func (r recording) Write(b []byte) (int, error) {
	*r.frames = append(*r.frames, bytes.Clone(b))
	return len(b), nil
}

package home

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"time"
)

// Limits of a connection that carries frames.
const (
	// maxCallFrame is enough for a body that is read before a call is forwarded, with all
	// headers that a client may send, and maxFrame for any answer to a change, in bytes.
	maxCallFrame = 128 << 10
	maxFrame     = 1 << 20
	// maxQueued is how many bytes wait to be written.
	maxQueued = 4 << 20
	// maxCalls is how many calls are under way on a connection.
	maxCalls = 1024
	// frameTimeout is how long one write may take.
	frameTimeout = 10 * time.Second
	// keptRoom is the largest buffer that is kept for the next frames.
	keptRoom = 256 << 10
	// A frame has its length and its seal besides its text.
	lengthSize, sealSize = 4, 16
)

var (
	errFrame  = errors.New("the other node sent a frame that is too large or not its own")
	errQueued = errors.New("too many bytes wait to be sent to the node")
)

// frameConn sends and receives frames. A frame is its length in four bytes and its text,
// sealed with AES-GCM. The nonce is the number of the frame, and each direction has a key
// of its own, so that no frame can be changed, left out, repeated or sent back.
type frameConn struct {
	net.Conn
	in      *bufio.Reader
	largest int // text that may arrive
	opener  cipher.AEAD
	opened  uint64 // frames
	text    []byte // of the last one

	mu      sync.Mutex
	room    sync.Cond // something was written, or nothing will be
	sealer  cipher.AEAD
	sealed  uint64 // frames
	begun   uint64 // frames of which a part may have been written
	out     []byte // sealed, and not begun
	spare   []byte // the next out
	writing bool
	err     error
}

// newFrameConn returns a connection of frames over c. It reads frames from in. largest
// limits the text of a frame that arrives.
func newFrameConn(c net.Conn, in io.Reader, largest int, open, seal []byte) (*frameConn, error) {
	f := &frameConn{Conn: c, in: bufio.NewReaderSize(in, 64<<10), largest: largest}
	f.room.L = &f.mu
	var err error
	if f.opener, err = newSealer(open); err != nil {
		return nil, err
	}
	f.sealer, err = newSealer(seal)
	return f, err
}

func newSealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(b *[12]byte, n uint64) []byte {
	binary.BigEndian.PutUint64(b[4:], n)
	return b[:]
}

// read returns the text of the next frame. It is good until the next read.
func (f *frameConn) read() ([]byte, error) {
	head, err := f.in.Peek(lengthSize)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n < sealSize || n > f.largest+sealSize {
		return nil, errFrame
	}
	f.in.Discard(lengthSize) // which Peek has read
	var sealed []byte
	if n <= f.in.Size() {
		if sealed, err = f.in.Peek(n); err != nil {
			return nil, noEOF(err)
		}
		defer f.in.Discard(n)
	} else {
		sealed = make([]byte, n)
		if _, err := io.ReadFull(f.in, sealed); err != nil {
			return nil, noEOF(err)
		}
	}
	if cap(f.text) > keptRoom {
		f.text = nil
	}
	var room [12]byte
	f.text, err = f.opener.Open(f.text[:0], nonce(&room, f.opened), sealed, nil)
	f.opened++
	if err != nil || len(f.text) == 0 {
		return nil, errFrame
	}
	return f.text, nil
}

// noEOF returns the error of a frame that ends early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// send queues a frame and returns its number. A caller that finds no other one writing
// writes all queued frames. When too many bytes are queued, send waits if wait is set,
// and fails otherwise. After an error nothing of the frame was sent.
func (f *frameConn) send(text []byte, wait bool) (number uint64, err error) {
	f.mu.Lock()
	for wait && f.err == nil && len(f.out) >= maxQueued {
		f.room.Wait()
	}
	switch {
	case f.err != nil:
		err = f.err
	case len(text) > maxFrame:
		err = errFrame
	case len(f.out) >= maxQueued:
		err = errQueued
	}
	if err != nil {
		f.mu.Unlock()
		return 0, err
	}
	number = f.sealed
	f.sealed++
	var room [12]byte
	f.out = binary.BigEndian.AppendUint32(f.out, uint32(len(text)+sealSize))
	f.out = f.sealer.Seal(f.out, nonce(&room, number), text, nil)
	first := !f.writing
	f.writing = true
	f.mu.Unlock()
	if first {
		runtime.Gosched() // lets other callers queue their frames first
		if f.write() {
			go f.writeAll() // so that no caller has to keep writing for the others
		}
	}
	return number, nil
}

func (f *frameConn) writeAll() {
	for f.write() {
	}
}

// write writes the queued frames. It reports whether more were queued meanwhile.
func (f *frameConn) write() (more bool) {
	f.mu.Lock()
	if f.err != nil {
		f.mu.Unlock()
		return false
	}
	b := f.out
	f.out, f.begun = f.spare[:0], f.sealed
	f.mu.Unlock()
	f.SetWriteDeadline(time.Now().Add(frameTimeout))
	_, err := f.Write(b)
	if cap(b) > keptRoom {
		b = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spare = b
	if err != nil {
		f.end(err)
	}
	f.room.Broadcast()
	f.writing = f.err == nil && len(f.out) > 0
	return f.writing
}

// fail ends the connection.
func (f *frameConn) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(err)
}

// end ends the connection. f.mu is held.
func (f *frameConn) end(err error) {
	if f.err == nil {
		f.err = err
		f.room.Broadcast()
		f.Close()
	}
}

// mayHaveSent reports whether a frame or a part of it was sent or may still be sent.
func (f *frameConn) mayHaveSent(number uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err == nil || number < f.begun
}

package codec

import (
	"encoding/binary"
	"errors"
	"time"

	"callbackd"
)

// attemptFormat is the version of an attempt's stored form: its numbers as varints,
// then its texts with their lengths. The two dozen fields of an attempt are always read
// together. As columns they would cost more than the event itself.
const attemptFormat = 1

// detail writes or reads the stored form of an attempt.
type detail struct {
	b   []byte
	bad bool
}

func (d *detail) putInt(n int64)   { d.b = binary.AppendVarint(d.b, n) }
func (d *detail) putText(s string) { d.b = append(binary.AppendUvarint(d.b, uint64(len(s))), s...) }

func (d *detail) putTime(t time.Time) { // in milliseconds; the zero time is 0
	if t.IsZero() {
		d.putInt(0)
		return
	}
	d.putInt(t.UnixMilli())
}

func (d *detail) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *detail) text() string {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > uint64(len(d.b)-size) {
		d.bad = true
		return ""
	}
	s := string(d.b[size : size+int(n)])
	d.b = d.b[size+int(n):]
	return s
}

func (d *detail) time() time.Time {
	ms := d.int()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (d *detail) micros() time.Duration { return time.Duration(d.int()) * time.Microsecond }

// The flags of an attempt.
const (
	flagReused = 1 << iota
	flagTruncated
	flagErased
	flagNoResponse
)

func flags(r *callbackd.Result) (n int64) {
	if r.Reused {
		n |= flagReused
	}
	if r.Truncated {
		n |= flagTruncated
	}
	switch r.Capture {
	case callbackd.CaptureErased:
		n |= flagErased
	case callbackd.CaptureNoResponse:
		n |= flagNoResponse
	}
	return n
}

func setFlags(r *callbackd.Result, n int64) {
	r.Reused, r.Truncated, r.Capture = n&flagReused != 0, n&flagTruncated != 0, callbackd.CaptureStored
	switch {
	case n&flagErased != 0:
		r.Capture = callbackd.CaptureErased
	case n&flagNoResponse != 0:
		r.Capture = callbackd.CaptureNoResponse
	}
}

// AppendAttempt appends the stored form of a. It has all fields of a except Number,
// Version and State.
func AppendAttempt(dst []byte, a *callbackd.Attempt) []byte {
	d := detail{b: append(dst, attemptFormat)}
	d.putInt(a.StartedAt.UnixMicro())
	for _, t := range []time.Duration{a.Timings.DNS, a.Timings.Connect, a.Timings.TLS, a.Timings.FirstByte, a.Timings.Total} {
		d.putInt(t.Microseconds())
	}
	d.putInt(flags(&a.Result))
	d.putInt(int64(a.Status))
	d.putInt(a.BodySize)
	d.putInt(int64(a.Step))
	d.putTime(a.Due)
	d.putTime(a.HoldsUntil)
	for _, s := range []string{a.Address, string(a.Fault), a.Error, a.RetryAfter, a.Location, a.Headers, a.Why} {
		d.putText(s)
	}
	return append(d.b, a.Body...)
}

var errAttempt = errors.New("an attempt cannot be read: the row is damaged or from a newer callbackd")

// HeadBytes is how many bytes of the stored form [ReadHead] needs at most.
const HeadBytes = 8 << 10

// ReadHead sets the fields of a that lists show, without headers and body. It needs only
// the first HeadBytes of what AppendAttempt wrote.
func ReadHead(b []byte, a *callbackd.Attempt) error {
	d, err := readMembers(b, a)
	if err != nil {
		return err
	}
	a.Address, a.Fault, a.Error = d.text(), callbackd.Fault(d.text()), d.text()
	if d.bad {
		return errAttempt
	}
	return nil
}

// ReadAttempt sets the fields of a from what AppendAttempt wrote.
func ReadAttempt(b []byte, a *callbackd.Attempt) error {
	d, err := readMembers(b, a)
	if err != nil {
		return err
	}
	a.Address, a.Fault, a.Error = d.text(), callbackd.Fault(d.text()), d.text()
	a.RetryAfter, a.Location, a.Headers, a.Why = d.text(), d.text(), d.text(), d.text()
	a.Body = append([]byte(nil), d.b...)
	if d.bad {
		return errAttempt
	}
	return nil
}

// readMembers reads the numbers and returns the rest.
func readMembers(b []byte, a *callbackd.Attempt) (*detail, error) {
	if len(b) == 0 || b[0] != attemptFormat {
		return nil, errAttempt
	}
	d := &detail{b: b[1:]}
	a.StartedAt = time.UnixMicro(d.int()).UTC()
	for _, t := range []*time.Duration{&a.Timings.DNS, &a.Timings.Connect, &a.Timings.TLS, &a.Timings.FirstByte, &a.Timings.Total} {
		*t = d.micros()
	}
	setFlags(&a.Result, d.int())
	a.Status, a.BodySize, a.Step = int(d.int()), d.int(), int(d.int())
	a.Due, a.HoldsUntil = d.time(), d.time()
	return d, nil
}

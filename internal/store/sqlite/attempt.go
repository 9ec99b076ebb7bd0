package sqlite

import (
	"encoding/binary"
	"errors"
	"time"

	"callbackd"

	"github.com/ncruces/go-sqlite3"
)

// An attempt has two dozen members, and one is written for every delivery.
// As columns they cost more than the event itself: half of the page splits of
// the whole hot path. Nothing but its own delivery ever asks for them, so
// they are one value: fixed members as varints, then the texts with their
// lengths.
const attemptFormat = 1

// detail is a cursor over that value, to write or to read.
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

func flags(reused, truncated bool) (n int64) {
	if reused {
		n |= 1
	}
	if truncated {
		n |= 2
	}
	return n
}

// appendAttempt appends all of a but its number, version and state.
func appendAttempt(dst []byte, a *callbackd.Attempt) []byte {
	d := detail{b: append(dst, attemptFormat)}
	d.putInt(a.StartedAt.UnixMicro())
	for _, t := range []time.Duration{a.Timings.DNS, a.Timings.Connect, a.Timings.TLS, a.Timings.FirstByte, a.Timings.Total} {
		d.putInt(t.Microseconds())
	}
	d.putInt(flags(a.Reused, a.Truncated))
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

// readAttempt fills a from what appendAttempt wrote.
func readAttempt(b []byte, a *callbackd.Attempt) error {
	if len(b) == 0 || b[0] != attemptFormat {
		return errAttempt
	}
	d := detail{b: b[1:]}
	a.StartedAt = time.UnixMicro(d.int()).UTC()
	for _, t := range []*time.Duration{&a.Timings.DNS, &a.Timings.Connect, &a.Timings.TLS, &a.Timings.FirstByte, &a.Timings.Total} {
		*t = d.micros()
	}
	f := d.int()
	a.Reused, a.Truncated = f&1 != 0, f&2 != 0
	a.Status, a.BodySize, a.Step = int(d.int()), d.int(), int(d.int())
	a.Due, a.HoldsUntil = d.time(), d.time()
	a.Address, a.Fault, a.Error = d.text(), callbackd.Fault(d.text()), d.text()
	a.RetryAfter, a.Location, a.Headers, a.Why = d.text(), d.text(), d.text(), d.text()
	a.Body = append([]byte(nil), d.b...)
	if d.bad {
		return errAttempt
	}
	return nil
}

// insertAttempt keeps an attempt, with the state its delivery has after it.
func (t *tx) insertAttempt(id callbackd.DeliveryID, n int64, a *callbackd.Attempt, state callbackd.State) error {
	t.room = appendAttempt(t.room[:0], a)
	return t.query("INSERT INTO attempts (event_id, callback_no, n, version, state, detail) VALUES (?, ?, ?, ?, ?, ?)", nil,
		int64(id.Event), int64(id.Callback), n, a.Version, string(state), t.room)
}

// history is every attempt of a delivery, oldest first.
func (d *db) history(id callbackd.DeliveryID) (out []callbackd.Attempt, err error) {
	err = d.query("SELECT n, version, state, detail FROM attempts WHERE event_id = ? AND callback_no = ? AND version > 0 ORDER BY n", func(st *sqlite3.Stmt) error {
		a := callbackd.Attempt{Number: st.ColumnInt(0), Version: st.ColumnInt64(1)}
		a.State = callbackd.State(st.ColumnText(2))
		err := readAttempt(st.ColumnRawBlob(3), &a)
		out = append(out, a)
		return err
	}, int64(id.Event), int64(id.Callback))
	return out, err
}

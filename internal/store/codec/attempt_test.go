package codec

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"callbackd"
)

// Reading a column returns an attempt or an error, whatever bytes it has, and never
// panics. Writing the attempt again gives the same bytes.
func FuzzReadAttempt(f *testing.F) {
	full := callbackd.Attempt{Result: callbackd.Result{StartedAt: time.UnixMicro(1e15).UTC(), Timings: callbackd.Timings{DNS: 1e6, Connect: 2e6, TLS: 3e6, FirstByte: 4e6, Total: 5e6},
		Address: "192.0.2.1:443", Reused: true, Fault: callbackd.FaultStatus, Error: "no", Status: 503, RetryAfter: "5", Location: "/l", Headers: "A: b\n", Body: []byte("\x00body"), BodySize: 5, Truncated: true},
		Decision: callbackd.Decision{Step: 3, Due: time.UnixMilli(1e12).UTC(), HoldsUntil: time.UnixMilli(2e12).UTC(), Why: "because"}}
	f.Add(AppendAttempt(nil, &full))
	f.Add(AppendAttempt(nil, &callbackd.Attempt{Result: callbackd.Result{StartedAt: time.UnixMicro(0).UTC()}}))
	f.Add([]byte{attemptFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a, again callbackd.Attempt
		if ReadAttempt(b, &a) != nil {
			return
		}
		written := AppendAttempt(nil, &a)
		if err := ReadAttempt(written, &again); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, again) && bytes.Equal(b, written) {
			t.Errorf("%+v reads back as %+v", a, again)
		}
	})
}

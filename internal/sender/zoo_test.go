package sender_test

import (
	"crypto/x509"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/humanize"
	"callbackd/internal/zoo"
)

// Bounds of one attempt at an exhibit, in bytes. The zoo runs in the same process, so that
// what it allocates counts too; and what it sends includes what waits in the sockets.
const (
	mostAllocated = 8 << 20
	mostTaken     = 64 << 20
)

// wholeBody are the exhibits whose answer has a good body.
var wholeBody = []string{"length-and-chunks", "two-answers", "tls-good", "http2-reset-stream", "http2-goaway", "http2-ping-flood", "http2-settings-flood"}

// Every exhibit of the zoo ends as it says, bounded by the callback's timeout and by the
// limits of what is read. With -v the test prints the figures.
func TestTheSenderPassesTheZoo(t *testing.T) {
	visits := make(chan zoo.Visit, 16)
	z, err := zoo.Open("127.0.0.1:0", func(v zoo.Visit) { visits <- v })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(z.CA()) {
		t.Fatal("the zoo has no authority")
	}
	s := newSender(t, egress.Options{Roots: roots})
	var endless []string // only the timeout ends them
	for _, x := range zoo.Drips() {
		endless = append(endless, x.Name)
	}
	for _, x := range z.Exhibits() {
		t.Run(x.Name, func(t *testing.T) {
			cb := callbackTo(x.URL)
			cb.Policy.Timeout = time.Minute
			slow := x.Fault == callbackd.FaultTimeout || slices.Contains(endless, x.Name)
			if slow {
				cb.Policy.Timeout = time.Second
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			res := s.Send(t.Context(), cb, event(), 1)
			v := <-visits // comes because the connection has ended
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%-10s %8s  %s read, %s sent by the receiver, %s allocated: %s", x.Ends(), humanize.Latency(res.Timings.Total), humanize.Size(res.BodySize), humanize.Size(v.Sent), humanize.Size(int64(allocated)), res.Error)
			same(t, "the exhibit", v.Exhibit, x.Name)
			same(t, "the fault", res.Fault, x.Fault)
			same(t, "whether it succeeded", res.Success(), x.Fault == callbackd.NoFault)
			same(t, "whether the sender was caught", v.Caught, false)
			if res.Success() && !res.Truncated && !saysCut(&res) && !slices.Contains(wholeBody, x.Name) {
				t.Errorf("the error is %q, and neither the body is cut nor does the error say so", res.Error)
			}
			if slow && !strings.Contains(res.Error, " within 1") {
				t.Errorf("the error is %q, want one that says within what time", res.Error)
			}
			if allocated > mostAllocated || v.Sent > mostTaken {
				t.Errorf("%d bytes were allocated, and the receiver got rid of %d", allocated, v.Sent)
			}
			within(t, &res)
		})
	}
	select {
	case v := <-visits:
		t.Errorf("one more connection: %+v", v)
	default:
	}
}

package callbackd_test

import (
	"strings"
	"testing"

	"callbackd"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	parent  = "00-" + traceID + "-b7ad6b7169203331-01"
)

func TestTraceParents(t *testing.T) {
	for in, want := range map[string]string{
		parent:                      parent,
		" " + parent + "\t":         parent,
		parent[:53] + "00":          parent[:53] + "00",
		parent[:53] + "ff":          parent[:53] + "03", // flags that are not defined are not sent on
		"01" + parent[2:]:           parent,
		"cc" + parent[2:] + "-what": parent,
		"cc" + parent[2:] + "what":  "",
		"ff" + parent[2:]:           "",
		parent + "-what":            "",
		parent[:54]:                 "",
		"":                          "",
		strings.ToUpper(parent):     "",
		"00-" + strings.Repeat("0", 32) + parent[35:]:       "",
		parent[:36] + strings.Repeat("0", 16) + parent[52:]: "",
		strings.Replace(parent, "0af", "0xg", 1):            "",
		strings.Replace(parent, "-", "_", 1):                "",
		"+0" + parent[2:]:                                   "",
	} {
		got := ""
		if trace := callbackd.ParseTrace([]string{in}, nil); trace != nil {
			got = trace.Parent()
		}
		if got != want {
			t.Errorf("%q is read as %q, want %q", in, got, want)
		}
	}
	for _, in := range [][]string{nil, {parent, parent}} {
		if callbackd.ParseTrace(in, nil) != nil {
			t.Errorf("%d headers are read", len(in))
		}
	}
	if trace := callbackd.ParseTrace([]string{parent}, nil); !trace.Sampled() || trace.IDText() != traceID {
		t.Errorf("it is %+v", trace)
	}
	if callbackd.ParseTrace([]string{parent[:53] + "02"}, nil).Sampled() {
		t.Error("a trace without the flag is sampled")
	}
}

func TestTraceStates(t *testing.T) {
	long := make([]string, 33)
	for i := range long {
		long[i] = "k" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "=1"
	}
	for want, in := range map[string][]string{
		"a=1":                           {"a=1"},
		"a=1,b@c=2":                     {"a=1 , ", ",b@c=2"},
		"":                              {""},
		"0/_-*=x y":                     {"0/_-*=x y"},
		strings.Join(long[:32], ","):    long[:32],
		"k=" + strings.Repeat("x", 256): {"k=" + strings.Repeat("x", 256)},
	} {
		if got := callbackd.ParseTrace([]string{parent}, in).State; got != want {
			t.Errorf("%q is read as %q", in, got)
		}
	}
	for _, in := range [][]string{
		{"a"}, {"a="}, {"A=1"}, {"_a=1"}, {"a=1=2"}, {"a=1,a=2"}, {"a=ü"}, {"a=\x01"}, {"a@b@c=1"}, long,
		{"k=" + strings.Repeat("x", 257)}, {"a=" + strings.Repeat("x", 250), "b=" + strings.Repeat("x", 250), "c=12345678"},
	} {
		if got := callbackd.ParseTrace([]string{parent}, in).State; got != "" {
			t.Errorf("%q is read as %q, want it left out", in, got)
		}
	}
}

func TestTheSpanOfAnAttemptIsAlwaysTheSame(t *testing.T) {
	trace := callbackd.ParseTrace([]string{parent}, []string{"a=1"})
	id := callbackd.DeliveryID{Event: 1 << 40, Callback: 7}
	seen := map[string]bool{trace.Parent(): true}
	for _, of := range []callbackd.DeliveryID{id, {Event: id.Event, Callback: 8}, {Event: id.Event + 1, Callback: 7}} {
		for n := 1; n < 4; n++ {
			got := trace.OfAttempt(of, n)
			if seen[got.Parent()] || *got != *trace.OfAttempt(of, n) || got.ID != trace.ID || got.Flags != trace.Flags || got.State != "a=1" {
				t.Errorf("attempt %d of %v has the context %+v", n, of, got)
			}
			seen[got.Parent()] = true
		}
	}
}

package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestATeardownClosesInTheReverseOrder(t *testing.T) {
	var closed []string
	var log syncBuffer
	td := teardown{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	broken := errors.New("disk full")
	for _, name := range []string{"store", "engine", "server"} {
		td.add(name, func(context.Context) error {
			closed = append(closed, name)
			if name == "engine" {
				return broken
			}
			return nil
		})
	}
	err := td.run(t.Context())
	if diff := cmp.Diff([]string{"server", "engine", "store"}, closed); diff != "" {
		t.Errorf("order of closing (-want +got):\n%s", diff)
	}
	if !errors.Is(err, broken) {
		t.Errorf("the error is %v, want one that wraps %v", err, broken)
	}
	if want := "stop the engine: disk full"; err == nil || err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
	for _, name := range []string{"server", "engine", "store"} {
		if !strings.Contains(log.String(), "part="+name) {
			t.Errorf("the log does not name the %s:\n%s", name, log.String())
		}
	}
}

func TestATeardownClosesEachPartOnce(t *testing.T) {
	n := 0
	td := teardown{log: slog.New(slog.DiscardHandler)}
	td.add("store", func(context.Context) error { n++; return nil })
	for range 2 {
		if err := td.run(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("closed %d times, want once", n)
	}
}

func TestATeardownJoinsAllErrors(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	td := teardown{log: slog.New(slog.DiscardHandler)}
	td.add("a", func(context.Context) error { return first })
	td.add("b", func(context.Context) error { return second })
	err := td.run(t.Context())
	if !errors.Is(err, first) {
		t.Errorf("%v does not wrap %v", err, first)
	}
	if !errors.Is(err, second) {
		t.Errorf("%v does not wrap %v", err, second)
	}
}

// A start that fails halfway leaves neither a listener nor a locked data
// directory behind.
func TestAStartThatFailsClosesWhatItBegan(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	c := config(t.TempDir())
	c.Listen = free.Addr().String()
	c.MetricsListen = taken.Addr().String() // opened after the store and the main address
	if a, err := Start(t.Context(), c); err == nil {
		a.Stop(t.Context())
		t.Fatalf("started with metrics at %s, which is in use", c.MetricsListen)
	}
	c.MetricsListen = ""
	a, err := Start(t.Context(), c)
	if err != nil {
		t.Fatalf("the next start on the same directory and address: %v", err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

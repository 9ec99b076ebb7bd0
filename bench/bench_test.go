package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test program a sink, a relay or a load, when bench starts itself as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"sink", "relay", "load"}, os.Args[1]) {
		main()
	}
	code := m.Run()
	cleanUp()
	os.Exit(code)
}

// printed runs a command and returns its standard output.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	code := run(args)
	os.Stdout = stdout
	w.Close()
	text, err := io.ReadAll(r)
	if code != 0 || err != nil {
		t.Fatalf("bench %s ends with %d, %v:\n%s", strings.Join(args, " "), code, err, text)
	}
	return string(text)
}

func TestTheCommandsMeasure(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts servers, which -short leaves out")
	}
	for want, args := range map[string][]string{
		"| CPU an event at 1,000/s | ":                                                         {"table", "-events", "100", "-rounds", "1", "-steady", "100ms"},
		"| at 500/s, with 3 receivers that hang: publish to arrival, p99 | ":                   {"extremes", "-rows", "isolation", "-hanging", "3", "-rounds", "2", "-isolation-for", "100ms"},
		"| 1,000 pending for a dead receiver: peak of RSS | ":                                  {"extremes", "-rows", "backlog", "-pending", "1000", "-events", "100"},
		"| CPU an event, with 60 and with 120 callbacks, most events for a few (Zipf, 1.1) | ": {"extremes", "-rows", "callbacks", "-callbacks", "120", "-events", "100", "-rounds", "1"},
		"| CPU an event of 100 sessions, with one callback and with one for each session | ":   {"extremes", "-rows", "own", "-callbacks", "100", "-events", "100", "-rounds", "1"},
		"| CPU an event, with 100 finished deliveries | ":                                      {"extremes", "-rows", "history", "-finished", "100", "-events", "100", "-rounds", "1"},
		"| calls forwarded to the home of their key, an event | ":                              {"postgres", "-events", "60", "-keys", "2", "-rounds", "1", "-steady", "100ms"},
		"| accepted and lost | 0 | 0 | ":                                                       {"overload", "-events", "200", "-for", "500ms", "-connections", "100"},
		"| while a visitor holds its connections | ":                                           {"visitors", "-calls", "10", "-connections", "50", "-deleted", "10"},
		"| GET /console/replays | ":                                                            {"lists", "-finished", "200"},
		"all arrived, 0 more than once":                                                        {"profile", "-events", "200", "-array", "100", "-o", filepath.Join(t.TempDir(), "cpu")},
		"\nCPU an event, with that of the load: ":                                              {"profile", "-events", "200", "-callbacks", "6", "-o", filepath.Join(t.TempDir(), "cpu")},
		"| CPU an event, server process | ":                                                    {"sessions", "-events", "100", "-sessions", "10", "-rounds", "1"},
	} {
		if text := printed(t, args...); !strings.Contains(text, want) {
			t.Errorf("bench %s does not print %q:\n%s", strings.Join(args, " "), want, text)
		}
	}
}

// A load that is more than the server takes is measured all the same, and says so.
func TestARefusedCallIsSentAgain(t *testing.T) {
	calls := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 2 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	sentAgain.Store(0)
	if _, err := load(place{url: s.URL}, 3, 1, 1, 0); err != nil || calls != 4 || sentAgain.Load() != 1 {
		t.Errorf("3 events, one of which is refused once: %d calls, %d sent again, %v", calls, sentAgain.Load(), err)
	}
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	if _, err := load(place{url: s.URL}, 1, 1, 1, 0); err == nil {
		t.Error("a 503 without Retry-After is no error")
	}
}

func TestAProfileOfManyCallbacksRefusesWhatItDoesNotDo(t *testing.T) {
	for _, other := range [][]string{{"-postgres"}, {"-array", "10"}, {"-rate", "5"}, {"-own", "5"}} {
		out := filepath.Join(t.TempDir(), "cpu")
		if code := run(append([]string{"profile", "-callbacks", "10", "-o", out}, other...)); code != 1 {
			t.Errorf("bench profile -callbacks 10 %v ends with %d, want 1", other, code)
		}
	}
}

func TestNumbersThatNothingCanBeMeasuredWithAreRefused(t *testing.T) {
	for want, cases := range map[int][][]string{
		2: {{"sim", "-nodes", "0"}, {"table", "-events", "0"}, {"sessions", "-rounds", "-1"}, {"load", "-c", "0"}, {"visitors", "-calls", "0"}},
		1: {{"load", "-events", "50", "-array", "100"}},
	} {
		for _, args := range cases {
			if code := run(args); code != want {
				t.Errorf("bench %q ends with %d, want %d", args, code, want)
			}
		}
	}
}

func TestTheSourceIsFoundFromAFolderInIt(t *testing.T) {
	want, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("sim")
	if got, err := moduleRoot(); got != want || err != nil {
		t.Errorf("moduleRoot() is %q, %v, want %q", got, err, want)
	}
}

func TestASinkHangsUntilItIsReset(t *testing.T) {
	s := httptest.NewServer(&sink{})
	defer s.Close()
	if _, err := asked(s.URL, "/?reset=1&hang=1"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error)
	go func() {
		_, err := load(place{url: s.URL}, 1, 1, 1, 0)
		answered <- err
	}()
	for {
		if a, err := asked(s.URL, "/"); err != nil {
			t.Fatal(err)
		} else if a.Hanging == 1 {
			break
		}
	}
	select {
	case <-answered:
		t.Fatal("a request was answered while the sink hangs")
	default:
	}
	if _, err := asked(s.URL, "/?reset=1"); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

func TestASpreadSaysTheUnitOnce(t *testing.T) {
	for want, v := range map[string][]time.Duration{
		"3 µs":          {3000},
		"3 µs (1 to 5)": {5000, 1000, 3000},
		"4 µs (3 to 5)": {5000, 3000},
		"7 µs":          {7000, 7000},
		"":              nil,
	} {
		if got := spread(v, cpuText); got != want {
			t.Errorf("spread(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestTwoBuildsAreCompared(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts servers, which -short leaves out")
	}
	server, err := buildServer()
	if err != nil {
		t.Fatal(err)
	}
	text := printed(t, "compare", "-before", server, "-events", "100", "-rounds", "6", "-steady", "50ms")
	if !regexp.MustCompile(`(?m)^\| CPU an event, at full load \| \d+ µs \| \d+ µs \| \d+\.\d{3} \(\d+\.\d{3} to \d+\.\d{3}\) \| \d+\.\d{3} \(`).MatchString(text) {
		t.Errorf("bench compare prints:\n%s", text)
	}
}

func TestBuildsTakeTurns(t *testing.T) {
	sides := []*side{{name: "a"}, {name: "b"}, {name: "c"}}
	place := map[string][3]int{}
	for round := range 6 {
		for at, s := range turn(sides, round) {
			places := place[s.name]
			places[at]++
			place[s.name] = places
		}
	}
	for _, s := range sides {
		if got := place[s.name]; got != [3]int{2, 2, 2} {
			t.Errorf("in six rounds, %s has the places %v, want each twice", s.name, got)
		}
	}
}

// The ranks are those of the tables for the sign test: 1 and 6 of 6, 2 and 9 of 10, 14
// and 27 of 40.
func TestTheIntervalOfAMedian(t *testing.T) {
	for _, c := range []struct {
		n         int
		low, high float64
		ok        bool
	}{{5, 0, 0, false}, {6, 1, 6, true}, {10, 2, 9, true}, {40, 14, 27, true}} {
		var v []float64
		for i := range c.n {
			v = append(v, float64(c.n-i))
		}
		low, high, ok := medianInterval(v)
		if low != c.low || high != c.high || ok != c.ok {
			t.Errorf("medianInterval of 1 to %d is %v to %v, %v; want %v to %v, %v", c.n, low, high, ok, c.low, c.high, c.ok)
		}
	}
}

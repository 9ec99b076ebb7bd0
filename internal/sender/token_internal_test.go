package sender

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
)

// fetches is a provider that counts, and fails as long as fault is set.
type fetches struct {
	n     int
	fault callbackd.Fault
	takes time.Duration
}

func (f *fetches) source() *tokenSource {
	return &tokenSource{fetch: func(context.Context) (*token, *tokenError) {
		f.n++
		time.Sleep(f.takes)
		if f.fault != callbackd.NoFault {
			return nil, &tokenError{fault: f.fault, text: "no access token: it is down"}
		}
		return &token{value: "t", refresh: time.Now().Add(8 * time.Minute)}, nil
	}}
}

func (ts *tokenSource) must(t *testing.T) *token {
	t.Helper()
	got, _, err := ts.get(t.Context(), time.Now().Add(time.Minute), nil)
	if err != nil {
		t.Fatal(err.text)
	}
	return got
}

func TestATokenIsFetchedOnceAtATimeAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetches{takes: time.Second}
		ts := f.source()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { ts.must(t) })
		}
		all.Wait()
		first := ts.must(t)
		if f.n != 1 {
			t.Errorf("100 attempts at once made %d fetches, want 1", f.n)
		}
		time.Sleep(8*time.Minute - time.Second)
		ts.must(t)
		if f.n != 1 {
			t.Errorf("%d fetches before the token's time, want 1", f.n)
		}
		time.Sleep(time.Second)
		if ts.must(t) == first || f.n != 2 {
			t.Errorf("%d fetches after the token's time, want 2", f.n)
		}
		// All whose token was refused get the same new one.
		refused := ts.must(t)
		for range 100 {
			all.Go(func() {
				if got, _, err := ts.get(t.Context(), time.Now().Add(time.Minute), refused); err != nil || got == refused {
					t.Errorf("the token after a refused one: %v, %v", got, err)
				}
			})
		}
		all.Wait()
		if f.n != 3 {
			t.Errorf("100 refusals of one token made %d fetches, want 1", f.n-2)
		}
	})
}

func TestASlowProviderEndsAnAttemptAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := (&fetches{takes: 10 * time.Second}).source()
		begin := time.Now()
		if _, _, err := ts.get(t.Context(), begin.Add(2*time.Second), nil); err == nil || err.fault != callbackd.FaultAuth || time.Since(begin) != 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(begin), err)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if _, _, err := ts.get(stopped, begin.Add(time.Hour), nil); err == nil || err.fault != callbackd.FaultShutdown {
			t.Errorf("when callbackd stops: %+v", err)
		}
		ts.must(t) // what was begun is used by others
	})
}

// A provider that is down is asked once each step of the backoff, however many attempts
// need a token.
func TestAProviderThatIsDownIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetches{fault: callbackd.FaultAuth}
		ts := f.source()
		get := func() *tokenError {
			_, _, err := ts.get(t.Context(), time.Now().Add(time.Minute), nil)
			return err
		}
		var at []time.Duration
		begin := time.Now()
		for before := 0; time.Since(begin) < 20*time.Minute; time.Sleep(time.Second) {
			for range 10 {
				if get() == nil {
					t.Fatal("a token of a provider that is down")
				}
				if f.n > before {
					before = f.n
					at = append(at, time.Since(begin))
				}
			}
		}
		want := []time.Duration{0, 0, 0, 10, 30, 70, 150, 310, 610, 910}
		for i := range want {
			want[i] *= time.Second
		}
		if len(at) != len(want) {
			t.Fatalf("asked at %v, want %v", at, want)
		}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("asked at %v, want %v", at, want)
			}
		}
		if text := get().text; !strings.HasPrefix(text, "no access token: it is down. The provider failed 10 times in a row and is not asked again before ") {
			t.Error(text)
		}
		// A token, as of a test, ends it.
		f.fault = callbackd.NoFault
		if _, err := ts.anew(t.Context()); err != nil {
			t.Error(err.text)
		}
		ts.must(t)
	})
}

// A provider that asks to wait is not said to have failed many times.
func TestAProviderThatAsksToWaitIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		ts := &tokenSource{fetch: func(context.Context) (*token, *tokenError) {
			asked++
			return nil, &tokenError{fault: callbackd.FaultAuth, text: noTokenText + "later", wait: time.Now().Add(time.Minute)}
		}}
		for _, want := range []string{"no access token: later", "no access token: later. The provider asked to wait (Retry-After) and is not asked again before "} {
			if _, _, err := ts.get(t.Context(), time.Now().Add(time.Hour), nil); err == nil || !strings.HasPrefix(err.text, want) {
				t.Errorf("%+v, want %q", err, want)
			}
		}
		if asked != 1 {
			t.Errorf("it was asked %d times", asked)
		}
	})
}

// A fault of this machine says nothing about the provider.
func TestALocalFaultDoesNotCloseAProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetches{fault: callbackd.FaultLocal}
		ts := f.source()
		for range 10 {
			if _, _, err := ts.get(t.Context(), time.Now().Add(time.Minute), nil); err == nil || err.fault != callbackd.FaultLocal {
				t.Errorf("%+v", err)
			}
		}
		if f.n != 10 {
			t.Errorf("%d fetches, want 10", f.n)
		}
	})
}

func TestAPanicOfAFetchIsALocalFault(t *testing.T) {
	ts := &tokenSource{fetch: func(context.Context) (*token, *tokenError) { panic("bug") }}
	if _, _, err := ts.get(t.Context(), time.Now().Add(time.Minute), nil); err == nil || err.fault != callbackd.FaultLocal {
		t.Errorf("%+v", err)
	}
}

func TestSecondsOfATokenAreRead(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want time.Duration
	}{
		{`3600`, time.Hour}, {`"3600"`, time.Hour}, {`3600.0`, time.Hour}, {`36e2`, time.Hour}, {``, 0}, {`null`, 0}, {`0`, 0}, {`-5`, 0}, {`"-5"`, 0}, {`"soon"`, 0}, {`"NaN"`, 0}, {`true`, 0}, {`[3600]`, 0}, {`{}`, 0},
		{`1e300`, 365 * maxTokenLife}, {`1e400`, 365 * maxTokenLife}, {`"1e400"`, 365 * maxTokenLife}, {`-1e400`, 0}, {`1e-400`, 0},
	} {
		if got := seconds(json.RawMessage(c.raw)); got != c.want {
			t.Errorf("%s is read as %v, want %v", c.raw, got, c.want)
		}
	}
}

package humanize_test

import (
	"testing"
	"time"

	"callbackd/internal/humanize"
)

func TestNumbersHaveSeparators(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 10_493: "10,493", 1_234_567: "1,234,567",
		-999: "-999", -1000: "-1,000",
	} {
		if got := humanize.Number(n); got != want {
			t.Errorf("Number(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestOneThingIsSingular(t *testing.T) {
	for n, want := range map[int]string{0: "0 attempts", 1: "1 attempt", 2: "2 attempts", 1000: "1,000 attempts"} {
		if got := humanize.Plural(n, "attempt"); got != want {
			t.Errorf("Plural(%d, attempt) = %q, want %q", n, got, want)
		}
	}
}

func TestAPluralOfY(t *testing.T) {
	for thing, want := range map[string]string{"delivery": "2 deliveries", "entry": "2 entries", "key": "2 keys", "day": "2 days"} {
		if got := humanize.Plural(int64(2), thing); got != want {
			t.Errorf("Plural(2, %s) = %q, want %q", thing, got, want)
		}
	}
}

func TestACountSaysThatItStoppedAtItsLimit(t *testing.T) {
	for n, want := range map[int]string{999: "999", 1000: "≥ 1,000", 1001: "≥ 1,000"} {
		if got := humanize.Count(n, 1000); got != want {
			t.Errorf("Count(%d, 1000) = %q, want %q", n, got, want)
		}
	}
}

func TestSizesHaveTwoDigitsAndAUnit(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "0 B", 0: "0 B", 512: "512 B", 1000: "1.0 kB", 1234: "1.2 kB", 12_345: "12 kB", 999_000: "999 kB",
		1_000_000: "1.0 MB", 1_234_567: "1.2 MB", 83_000_000: "83 MB", 1_500_000_000: "1.5 GB",
	} {
		if got := humanize.Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDurationsHaveTheirTwoLargestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 999 * time.Millisecond: "999 ms", 1999 * time.Millisecond: "1 s",
		3*time.Minute + 29*time.Second: "3 min 29 s", time.Hour + time.Second: "1 h", 26 * time.Hour: "1 d 2 h", -time.Minute: "-1 min",
	} {
		if got := humanize.Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestLatenciesKeepTheDigitsThatMatter(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 0: "0 ms", 420 * time.Microsecond: "0.42 ms", 8300 * time.Microsecond: "8.3 ms", 8 * time.Millisecond: "8 ms",
		431_400 * time.Microsecond: "431 ms", 1240 * time.Millisecond: "1.2 s", 2 * time.Second: "2 s", 209 * time.Second: "3 min 29 s",
	} {
		if got := humanize.Latency(d); got != want {
			t.Errorf("Latency(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestTimesAreInUTCAndSaySo(t *testing.T) {
	at := time.Date(2026, 1, 2, 16, 4, 5, 999, time.FixedZone("CET", 3600))
	if got, want := humanize.Time(at), "2026-01-02 15:04:05 UTC"; got != want {
		t.Errorf("Time(%v) = %q, want %q", at, got, want)
	}
}

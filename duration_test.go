package callbackd

import (
	"math"
	"testing"
	"time"
)

func TestDurationsTakeDays(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
	}{
		{"30d", 720 * time.Hour}, {"1d12h", 36 * time.Hour}, {"0d", 0}, {"1d0.5s", 24*time.Hour + 500*time.Millisecond}, {"-2d1h", -49 * time.Hour},
		{"90s", 90 * time.Second}, {"720h", 720 * time.Hour}, {"-1s", -time.Second}, {"106751d", 106751 * 24 * time.Hour},
	} {
		if got, err := ParseDuration(tt.text); err != nil || got != tt.want {
			t.Errorf("%q: %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "d", "30", "1.5d", "1d-1h", "1d+1h", "1h1d", "30 d", "106752d", "106751d24h", "99999999999999999999d", "a month", "1D"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestDurationsHaveOneStyle(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "1m30s": 90 * time.Second, "20s": 20 * time.Second, "0s": 0, "1h": time.Hour, "1d1m": 24*time.Hour + time.Minute,
		"2m500ms": 2*time.Minute + 500*time.Millisecond, "-2d": -48 * time.Hour, "500ms": 500 * time.Millisecond,
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is %q, want %q", time.Duration(d), got, want)
		}
		if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
			t.Errorf("%v comes back as %v, %v", d, back, err)
		}
	}
	FormatDuration(math.MinInt64)
}

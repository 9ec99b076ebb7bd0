package callbackd

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonicalNumberIsOneSpelling(t *testing.T) {
	for want, all := range map[string][]string{
		"7": {"7", "7.0", "7.00", "7e0", "70e-1", "0.7E+1", "0.007e3"}, "0": {"0", "-0", "0.0", "0e9", "-0.00e-7", "0e9999999999", "-0.0e-99999999999999999999"}, "-1.5": {"-1.5", "-15e-1", "-1.50"},
		"1000": {"1000", "1e3", "1E+3"}, "0.001": {"0.001", "1e-3"}, "12.34": {"12.34", "1234e-2"}, "5e400": {"5e400", "50e399", "0.5e401"}, "5e-400": {"5e-400"},
		"12345678901234567890.1": {"12345678901234567890.1", "12345678901234567890.10"},
	} {
		for _, s := range all {
			if got, ok := CanonicalNumber(s); !ok || got != want {
				t.Errorf("%s is %s, %v, want %s", s, got, ok, want)
			}
		}
	}
	for _, s := range []string{"", "-", "+1", "01", ".5", "1.", "1e", "1e+-2", "0x10", "1_000", "NaN", "7 ", "7a", "e3"} {
		if got, ok := CanonicalNumber(s); ok {
			t.Errorf("%q is the number %s", s, got)
		}
	}
}

func TestCanonicalNumberKeepsTheValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		got, ok := CanonicalNumber(s)
		a, readA := new(big.Rat).SetString(s)
		b, readB := new(big.Rat).SetString(got)
		if !ok || !readA || !readB {
			t.Fatalf("%s became %q: canonical %v; both are numbers: %v, %v", s, got, ok, readA, readB)
		}
		if a.Cmp(b) != 0 {
			t.Fatalf("%s became %s, which has another value", s, got)
		}
		if again, ok := CanonicalNumber(got); !ok || again != got {
			t.Fatalf("%s becomes %s", got, again)
		}
	})
}

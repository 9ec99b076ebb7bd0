package callbackd

import (
	"strconv"
	"strings"
)

// maxPlain is the largest number of digits without an exponent.
const maxPlain = 40

// CanonicalNumber returns one spelling for all spellings of the same JSON number:
// "7" for 7, 7.0 and 70e-1. ok is false when text is not a JSON number.
func CanonicalNumber(text string) (canonical string, ok bool) {
	digits, negative := strings.CutPrefix(text, "-")
	mantissa, exponent, hasExponent := digits, "", false
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		mantissa, exponent, hasExponent = digits[:i], digits[i+1:], true
	}
	whole, fraction, hasFraction := strings.Cut(mantissa, ".")
	if !isDigits(whole) || len(whole) > 1 && whole[0] == '0' || hasFraction && !isDigits(fraction) {
		return "", false
	}
	shift := 0
	if hasExponent {
		if !isDigits(strings.TrimLeft(exponent, "+-")) || len(exponent)-len(strings.TrimLeft(exponent, "+-")) > 1 {
			return "", false
		}
		n, err := strconv.Atoi(exponent)
		if err != nil || n > 1e9 || n < -1e9 {
			return text, true // too large or small for any program
		}
		shift = n
	}
	all := strings.TrimLeft(whole+fraction, "0")
	shift -= len(fraction)
	significant := strings.TrimRight(all, "0")
	shift += len(all) - len(significant)
	switch {
	case significant == "":
		return "0", true
	case shift >= 0 && len(significant)+shift <= maxPlain:
		canonical = significant + strings.Repeat("0", shift)
	case shift < 0 && -shift < len(significant):
		canonical = significant[:len(significant)+shift] + "." + significant[len(significant)+shift:]
	case shift < 0 && -shift <= maxPlain:
		canonical = "0." + strings.Repeat("0", -shift-len(significant)) + significant
	default:
		canonical = significant + "e" + strconv.Itoa(shift)
	}
	if negative {
		canonical = "-" + canonical
	}
	return canonical, true
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

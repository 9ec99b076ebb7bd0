package callbackd

import (
	"cmp"
	"strconv"
	"strings"
)

// maxPlain is the largest number of digits without an exponent.
const maxPlain = 40

// CanonicalNumber returns one spelling for all spellings of the same JSON number:
// "7" for 7, 7.0 and 70e-1. ok is false when text is not a JSON number.
func CanonicalNumber(text string) (canonical string, ok bool) {
	if len(text) <= maxPlain && isDigits(text) && text[0] != '0' {
		return text, true // as most numbers are
	}
	unsigned, negative := strings.CutPrefix(text, "-")
	digits, exponent, ok := splitNumber(unsigned)
	if !ok {
		return "", false
	}
	if exponent > maxExponent || exponent < -maxExponent {
		return text, true // too large or small for any program
	}
	significant := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(significant)
	if significant == "" {
		return "0", true
	}
	canonical = plainNumber(significant, exponent)
	if negative {
		canonical = "-" + canonical
	}
	return canonical, true
}

// compareNumbers compares two JSON numbers by value, as [cmp.Compare] does. ok is false
// when one of them is no number, or too large or small for any program.
func compareNumbers(a, b string) (order int, ok bool) {
	x, isNumber := readMagnitude(a)
	y, isToo := readMagnitude(b)
	if !isNumber || !isToo {
		return 0, false
	}
	if order = cmp.Compare(x.sign, y.sign); order == 0 {
		order = x.sign * cmp.Or(cmp.Compare(x.point, y.point), strings.Compare(x.digits, y.digits))
	}
	return order, true
}

// magnitude is a number as 0.digits times ten to the power of point. The digits neither
// begin nor end with a zero, and are empty for zero.
type magnitude struct {
	sign   int // -1, 0 or 1
	point  int
	digits string
}

func readMagnitude(text string) (m magnitude, ok bool) {
	unsigned, negative := strings.CutPrefix(text, "-")
	digits, exponent, ok := splitNumber(unsigned)
	if !ok || exponent > maxExponent || exponent < -maxExponent {
		return m, false
	}
	if digits == "" {
		return m, true
	}
	m = magnitude{sign: 1, point: len(digits) + exponent, digits: strings.TrimRight(digits, "0")}
	if negative {
		m.sign = -1
	}
	return m, true
}

// maxExponent is the largest exponent that is added up. Its value is beyond the
// numbers of any program.
const maxExponent = 1e9

// splitNumber reads a JSON number without a sign as digits times a power of ten. The
// digits begin with no zero. An exponent that is too long to be read is returned as
// one above maxExponent.
func splitNumber(text string) (digits string, exponent int, ok bool) {
	mantissa, power := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, power = text[:i], text[i+1:]
		unsigned := strings.TrimLeft(power, "+-")
		if !isDigits(unsigned) || len(power)-len(unsigned) > 1 {
			return "", 0, false
		}
	}
	whole, fraction, hasFraction := strings.Cut(mantissa, ".")
	if !isDigits(whole) || len(whole) > 1 && whole[0] == '0' || hasFraction && !isDigits(fraction) {
		return "", 0, false
	}
	if power != "" && strings.Trim(whole+fraction, "0") != "" { // zero is zero with any exponent
		n, err := strconv.Atoi(power)
		if err != nil || n > maxExponent || n < -maxExponent {
			return "", maxExponent + 1, true
		}
		exponent = n
	}
	return strings.TrimLeft(whole+fraction, "0"), exponent - len(fraction), true
}

// plainNumber writes digits times a power of ten without an exponent where that has
// at most maxPlain digits.
func plainNumber(digits string, exponent int) string {
	switch point := len(digits) + exponent; {
	case exponent >= 0 && point <= maxPlain:
		return digits + strings.Repeat("0", exponent)
	case exponent < 0 && point > 0:
		return digits[:point] + "." + digits[point:]
	case exponent < 0 && -exponent <= maxPlain:
		return "0." + strings.Repeat("0", -point) + digits
	}
	return digits + "e" + strconv.Itoa(exponent)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

package callbackd

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DurationText writes a duration for people, in its two largest units:
// "3 min 29 s". It leaves out fractions of a second, except that a duration
// below one second is in milliseconds.
func DurationText(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	if d < time.Second {
		return sign + strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	units := []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.d {
			continue
		}
		out := fmt.Sprintf("%s%d %s", sign, d/u.d, u.name)
		if rest := d % u.d; i+1 < len(units) && rest >= units[i+1].d {
			out += fmt.Sprintf(" %d %s", rest/units[i+1].d, units[i+1].name)
		}
		return out
	}
	return sign + "0 s"
}

// Clip returns a text that is cut after n bytes at the latest, with "…" where
// it was cut. It cuts no character in two.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// failures is each kind of fault in words. Whether a host is unknown or leads
// to an address that is not allowed is not told apart: it would tell what is
// inside a network.
var failures = map[Fault]string{
	FaultRefused:  "its host has no address that callbackd may send to",
	FaultDNS:      "its host has no address that callbackd may send to",
	FaultConnect:  "no connection to the receiver could be made",
	FaultTLS:      "no trusted TLS connection to the receiver could be made",
	FaultTimeout:  "the receiver did not answer in time",
	FaultProtocol: "the receiver's answer was not valid HTTP",
	FaultQuery:    "the query of its request would be longer than 8 KiB",
	FaultProxy:    "the operator's proxy did not let it through",
	FaultLocal:    "callbackd itself could not send it",
	FaultShutdown: "callbackd stopped during the attempt",
}

// FailureText says in words how an attempt failed; empty when it did not.
func FailureText(fault Fault, status int) string {
	switch {
	case fault == NoFault:
		return ""
	case fault == FaultStatus && http.StatusText(status) != "":
		return fmt.Sprintf("the receiver answered %d %s", status, http.StatusText(status))
	case fault == FaultStatus && status == 0:
		return "the receiver answered with a status other than 2xx"
	case fault == FaultStatus:
		return fmt.Sprintf("the receiver answered %d", status)
	case failures[fault] != "":
		return failures[fault]
	}
	return "it failed: " + string(fault)
}

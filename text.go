package callbackd

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DurationText formats a duration for people with its two largest units:
// "3 min 29 s". Durations under one second are in milliseconds.
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

// Clip returns the first n bytes of a text, with "…" when it leaves something out. It
// does not cut a character in two.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// failures describes each fault in words. An unknown host and a host with a
// forbidden address have the same text: the difference would reveal what exists
// inside the operator's network.
var failures = map[Fault]string{
	FaultRefused:  "its host has no address that callbackd may send to",
	FaultDNS:      "its host has no address that callbackd may send to",
	FaultConnect:  "no connection to the receiver could be made",
	FaultTLS:      "no trusted TLS connection to the receiver could be made",
	FaultTimeout:  "the receiver did not answer in time",
	FaultProtocol: "the receiver's answer was not valid HTTP",
	FaultQuery:    "the query of the request would be longer than 8 KiB",
	FaultProxy:    "the operator's proxy refused the connection or failed",
	FaultLocal:    "callbackd itself could not send the request",
	FaultShutdown: "callbackd stopped during the attempt",
	FaultAuth:     "the provider of access tokens gave none",
}

// FailureText describes how an attempt failed; it is empty for a success.
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

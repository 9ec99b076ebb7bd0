package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

// noSuchTarget is said of a name that does not exist and of one that leads to a
// forbidden address alike: which of the two it is would tell what names there
// are in the operator's network.
const noSuchTarget = "the host name leads to no address that callbackd may send to"

// attempt is one that is being made.
type attempt struct {
	*Sender
	ctx      context.Context // ends when callbackd stops
	exchange context.Context // ends at the deadline too
	start    time.Time
	hide     *redactor
	trace    egress.Trace
	res      *callbackd.Result
}

// fault sets what went wrong. The text may hold what the receiver sent.
func (a *attempt) fault(f callbackd.Fault, format string, args ...any) {
	a.res.Fault, a.res.Error = f, clip(a.hide.text(fmt.Sprintf(format, args...)), maxErrorKept)
}

// passed is how long the attempt has taken, for people.
func (a *attempt) passed() string { return seconds(time.Since(a.start)) }

// seconds writes a duration with the unit that suits it: "250 ms", "2.5 s".
func seconds(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return strconv.FormatFloat(float64(d.Round(100*time.Millisecond))/float64(time.Second), 'f', -1, 64) + " s"
}

// late tells whether the deadline has passed; a connection may notice before
// the context does.
func (a *attempt) late(err error) bool {
	return a.exchange.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// fail classifies an error of the exchange before its answer, by the phase in
// which it happened. What was not connected is "connect", also when the whole
// timeout went by; "timeout" is said of what was connected.
func (a *attempt) fail(err error) {
	var (
		refused *egress.RefusedError
		local   *egress.LocalError
		proxy   *egress.ProxyError
	)
	switch {
	case errors.As(err, &refused):
		a.refuse(refused)
	case a.ctx.Err() != nil:
		a.fault(callbackd.FaultShutdown, "callbackd stopped during the attempt")
	case errors.Is(err, egress.ErrRequest):
		a.fault(callbackd.FaultLocal, "callbackd could not build the request; the attempt is made again")
		a.log.Error("request not sent", "error", err)
	case errors.As(err, &local):
		a.fault(callbackd.FaultLocal, "%s; the attempt is made again", lacks[local.Lacks])
		a.log.Error("local fault", "error", err)
	case errors.As(err, &proxy) && proxy.Unreachable():
		a.fault(callbackd.FaultConnect, "the egress proxy did not reach the receiver; %s had passed", a.passed())
	case errors.As(err, &proxy):
		a.fault(callbackd.FaultProxy, "the egress proxy failed; the attempt is made again")
		a.log.Error("egress proxy failed", "error", err)
	case a.trace.Phase == egress.Resolving: // a resolver that answers has no such name
		a.fault(callbackd.FaultDNS, noSuchTarget)
		a.log.Warn("host name unknown", "error", err)
	case a.trace.Phase == egress.Connecting:
		a.unconnected(err)
	case a.trace.Phase == egress.Handshaking:
		a.untrusted(err)
	case a.late(err):
		a.fault(callbackd.FaultTimeout, "the receiver did not answer within %s", a.passed())
	case errors.Is(err, egress.ErrUnsent):
		a.fault(callbackd.FaultProtocol, "the receiver ended the connection before the request was sent")
	case a.trace.Phase == egress.Sending:
		a.fault(callbackd.FaultProtocol, "the receiver ended the connection without an answer; it may have read the request")
	default:
		a.fault(callbackd.FaultProtocol, "the receiver gave no complete HTTP answer: %v", err)
	}
}

// lacks says what this machine lacks.
var lacks = map[egress.Lack]string{
	egress.LacksResolver:  "callbackd's own name server gave no answer",
	egress.LacksRoute:     "callbackd's machine has no way to the receiver's network",
	egress.LacksResources: "callbackd ran out of a local resource",
	egress.LacksRoots:     "callbackd's machine has no certificate authorities to trust",
}

// refuse tells the key holder the same of every target that the policy
// refuses, and the operator what it was.
func (a *attempt) refuse(err *egress.RefusedError) {
	a.log.Warn("target refused", "detail", err.Detail())
	if err.IsName() {
		a.fault(callbackd.FaultDNS, noSuchTarget)
		return
	}
	a.fault(callbackd.FaultRefused, "%v", err)
}

func (a *attempt) unconnected(err error) {
	switch {
	case a.late(err) || errors.Is(err, syscall.ETIMEDOUT):
		a.fault(callbackd.FaultConnect, "the receiver did not accept the connection within %s", a.passed())
	case errors.Is(err, syscall.ECONNREFUSED):
		a.fault(callbackd.FaultConnect, "the receiver refused the connection, after %s", a.passed())
	default:
		a.fault(callbackd.FaultConnect, "the receiver cannot be reached; the network said so after %s", a.passed())
	}
}

// untrusted is of a TLS handshake: one that is not over in time is a timeout,
// because the receiver was connected.
func (a *attempt) untrusted(err error) {
	var cert *tls.CertificateVerificationError
	switch {
	case a.late(err):
		a.fault(callbackd.FaultTimeout, "the TLS handshake was not over within %s", a.passed())
	case errors.As(err, &cert):
		a.fault(callbackd.FaultTLS, "the receiver's certificate is not trusted: %v", cert.Err)
	default:
		a.fault(callbackd.FaultTLS, "no TLS connection: %v", err)
	}
}

// cut says why the body of an answer ended early.
func (a *attempt) cut(err error) string {
	var network *net.OpError
	switch {
	case a.ctx.Err() != nil:
		return "callbackd stopped meanwhile"
	case a.late(err):
		return "it was not over within " + a.passed()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return "the connection ended before it"
	}
	return err.Error()
}

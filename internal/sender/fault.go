package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/humanize"
	"callbackd/internal/system"
)

// noAddressText is the error both for a name that does not exist and for one that
// leads to a forbidden address. To tell them apart would tell which names exist in
// the operator's network.
const noAddressText = "the host name leads to no address that callbackd may send to"

// attempt is an attempt that is being made.
type attempt struct {
	*Sender
	ctx      context.Context // ends when callbackd stops
	start    time.Time
	deadline time.Time // of the whole exchange
	redact   *redactor
	trace    egress.Trace
	res      *callbackd.Result
	noCert   bool   // the receiver refused the client certificate, or its lack
	peer     string // what texts call the other side; empty for the receiver
	// noResponse says that nothing of the answer may be stored, in texts neither.
	noResponse bool
}

// fault sets the fault and its text, which may contain what the receiver sent.
func (a *attempt) fault(f callbackd.Fault, format string, args ...any) {
	if a.peer != "" {
		format = strings.ReplaceAll(format, "the receiver", a.peer)
	}
	a.res.Fault, a.res.Error = f, callbackd.Clip(a.redact.text(fmt.Sprintf(format, args...)), maxErrorKept)
}

// elapsed returns how long the attempt has taken, for people.
func (a *attempt) elapsed() string { return humanize.Latency(time.Since(a.start)) }

// timedOut reports whether the deadline has passed.
func (a *attempt) timedOut(err error) bool {
	return !time.Now().Before(a.deadline) || errors.Is(err, os.ErrDeadlineExceeded)
}

// fail classifies an error before the answer, by the phase in which it happened.
// An attempt without a connection fails with "connect", also when its whole timeout
// has passed; "timeout" is for attempts that were connected.
func (a *attempt) fail(err error) {
	var (
		refused *egress.RefusedError
		local   *egress.LocalError
		proxy   *egress.ProxyError
	)
	switch {
	case errors.As(err, &refused):
		a.refusedTarget(refused)
	case a.ctx.Err() != nil:
		a.fault(callbackd.FaultShutdown, "callbackd stopped during the attempt")
	case errors.Is(err, egress.ErrRequest):
		a.fault(callbackd.FaultLocal, "callbackd could not build the request; the attempt is made again")
		a.log.Error("request not sent", "error", err)
	case errors.As(err, &local):
		a.fault(callbackd.FaultLocal, "%s; the attempt is made again", missingText[local.Missing])
		a.log.Error("local fault", "error", err)
	case errors.As(err, &proxy) && proxy.Unreachable():
		a.fault(callbackd.FaultConnect, "the egress proxy did not reach the receiver within %s", a.elapsed())
	case errors.As(err, &proxy):
		a.fault(callbackd.FaultProxy, "the egress proxy failed; the attempt is made again")
		a.log.Error("egress proxy failed", "error", err)
	default:
		a.failIn(a.trace.Phase, err)
	}
}

// failIn notes a fault of the receiver in a phase of the exchange.
func (a *attempt) failIn(phase egress.Phase, err error) {
	switch {
	case phase == egress.Resolving: // the name servers answered that there is no such name
		a.fault(callbackd.FaultDNS, noAddressText)
		a.log.Warn("host name unknown", "error", err)
	case phase == egress.Connecting:
		a.connectFault(err)
	case phase == egress.Handshaking:
		a.handshakeFault(err)
	case a.timedOut(err):
		a.fault(callbackd.FaultTimeout, "the receiver did not answer within %s", a.elapsed())
	case tlsRefused(err):
		a.fault(callbackd.FaultTLS, "the receiver refused the TLS connection: %v", err)
	case errors.Is(err, egress.ErrUnsent):
		a.fault(callbackd.FaultProtocol, "the receiver closed the connection before the request was sent")
	case phase == egress.Sending:
		a.fault(callbackd.FaultProtocol, "the receiver closed the connection without an answer; it may have read the request")
	case a.noResponse:
		a.fault(callbackd.FaultProtocol, "the receiver sent no complete HTTP answer")
	default:
		a.fault(callbackd.FaultProtocol, "the receiver sent no complete HTTP answer: %v", err)
	}
}

// missingText holds what is missing on this machine, for key holders.
var missingText = map[egress.Missing]string{
	egress.NoResolver:  "callbackd's own name server did not answer",
	egress.NoRoute:     "callbackd's machine has no route to the receiver's network",
	egress.NoResources: "callbackd ran out of a local resource",
	egress.NoRoots:     "callbackd's machine has no certificate authorities to trust",
}

// refusedTarget tells the key holder the same for every target that the policy
// refuses. The operator's log has the address.
func (a *attempt) refusedTarget(err *egress.RefusedError) {
	a.log.Warn("target refused", "detail", err.Detail())
	if err.IsName() {
		a.fault(callbackd.FaultDNS, noAddressText)
		return
	}
	a.fault(callbackd.FaultRefused, "%v", err)
}

func (a *attempt) connectFault(err error) {
	switch {
	case a.timedOut(err) || system.Is(err, syscall.ETIMEDOUT):
		a.fault(callbackd.FaultConnect, "the receiver did not accept the connection within %s", a.elapsed())
	case system.Is(err, syscall.ECONNREFUSED):
		a.fault(callbackd.FaultConnect, "the receiver refused the connection after %s", a.elapsed())
	default:
		a.fault(callbackd.FaultConnect, "the receiver cannot be reached: the network reported an error after %s", a.elapsed())
	}
}

// handshakeFault classifies an error of the TLS handshake. A handshake that is not
// done in time is a timeout, because the receiver was connected.
func (a *attempt) handshakeFault(err error) {
	var cert *tls.CertificateVerificationError
	switch {
	case a.timedOut(err):
		a.fault(callbackd.FaultTimeout, "the TLS handshake was not complete within %s", a.elapsed())
	case errors.As(err, &cert):
		a.fault(callbackd.FaultTLS, "the receiver's certificate is not trusted: %v", cert.Err)
	default:
		a.fault(callbackd.FaultTLS, "the TLS handshake failed: %v", err)
	}
}

// tlsRefused reports whether the receiver ended TLS with an alert. Since TLS 1.3 a client
// certificate is refused only after the handshake.
func tlsRefused(err error) bool {
	network, ok := errors.AsType[*net.OpError](err)
	return ok && network.Op == "remote error"
}

// certAlerts are the texts of the TLS alerts by which a receiver refuses a client
// certificate, or its lack (RFC 8446, section 6.2).
var certAlerts = func() map[string]bool {
	texts := map[string]bool{}
	for _, code := range []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116} { // bad, unsupported, revoked, expired, unknown, of an unknown authority, denied, required
		texts[code.Error()] = true
	}
	return texts
}()

// handshakeFailure is an alert for anything, which many receivers send for a certificate.
const handshakeFailure = tls.AlertError(40)

// certRefused reports whether the receiver ended TLS because of the client certificate. It
// has not read the request then: it judges the certificate before it reads on.
func certRefused(err error, phase egress.Phase) bool {
	network, ok := errors.AsType[*net.OpError](err)
	if !ok || network.Op != "remote error" || phase < egress.Handshaking || phase > egress.Sending {
		return false
	}
	alert := network.Err.Error()
	return certAlerts[alert] || phase == egress.Handshaking && alert == handshakeFailure.Error()
}

// bodyError tells why the body of an answer ended early.
func (a *attempt) bodyError(err error) string {
	var network *net.OpError
	switch {
	case a.ctx.Err() != nil:
		return "callbackd stopped"
	case a.timedOut(err):
		return "it was not complete within " + a.elapsed()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return "the connection was closed"
	case a.noResponse:
		return "it is not valid HTTP"
	}
	return err.Error()
}

package zoo

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"time"

	"callbackd"
)

// ofPorts are exhibits that act before they have read a request.
var ofPorts = []Exhibit{
	{Name: "close-on-accept", Does: "accepts the connection and closes it", Good: noAnswer, Fault: callbackd.FaultProtocol,
		port: &port{"http", func(_ *Zoo, c net.Conn) bool { return false }}},
	{Name: "reset-in-request", Does: "reads one byte of the request and resets the connection", Good: noAnswer, Fault: callbackd.FaultProtocol,
		port: &port{"http", func(_ *Zoo, c net.Conn) bool {
			// Not before: a reset that comes early is a connection that could not be opened.
			io.ReadFull(c, make([]byte, 1))
			reset(c)
			return false
		}}},
	{Name: "speaks-first", Does: "sends a frame of HTTP/2 before it has read anything, and closes its side of the connection", Good: noAnswer, Fault: callbackd.FaultProtocol,
		port: &port{"http", func(_ *Zoo, c net.Conn) bool {
			io.WriteString(c, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
			closeWrite(c)
			return false
		}}},
	{Name: "tls-silence", Does: "accepts the connection and never answers the TLS handshake", Good: limitTime, Fault: callbackd.FaultTimeout,
		port: &port{"https", func(_ *Zoo, c net.Conn) bool { io.Copy(io.Discard, c); return false }}},
	{Name: "tls-slow-handshake", Does: "sends its part of the TLS handshake a byte at a time, without end", Good: limitTime, Fault: callbackd.FaultTimeout,
		port: &port{"https", func(_ *Zoo, c net.Conn) bool {
			dripInto(c, "\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", "\x03") // the beginning of a message of 16 KB
			return false
		}}},
	{Name: "tls-alert-flood", Does: "answers the TLS handshake with warnings without end", Good: limitHandshake, Fault: callbackd.FaultTLS,
		port: &port{"https", func(_ *Zoo, c net.Conn) bool {
			flood(c, bytes.Repeat([]byte("\x15\x03\x03\x00\x02\x01\x5a"), 1000)) // user_canceled
			return false
		}}},
	{Name: "tls-long-chain", Does: "sends a thousand certificates of authorities with its own", Good: limitHandshake, Fault: callbackd.FaultTLS,
		port: &port{"https", func(z *Zoo, c net.Conn) bool { return z.handshake(c, leaf{copies: 1000}, nil) }}},
	{Name: "tls-garbage", Does: "answers the TLS handshake with what is no TLS", Good: distrust, Fault: callbackd.FaultTLS,
		port: &port{"https", func(_ *Zoo, c net.Conn) bool {
			io.WriteString(c, "220 mail.example ESMTP\r\n")
			io.Copy(io.Discard, io.LimitReader(c, maxRequest))
			return false
		}}},
	{Name: "tls-good", Does: "has good TLS and answers 200. When a sender does not deliver here, it does not trust the zoo's authority, and the other exhibits with TLS show nothing", Good: "delivers",
		port: &port{"https", func(z *Zoo, c net.Conn) bool { z.handshake(c, leaf{}, nil); return false }}},
}

// ofTLS are exhibits whose TLS is bad. A sender that sends them its request is caught.
var ofTLS = []Exhibit{
	badTLS("tls-expired", "has a certificate that has expired", leaf{change: valid(-48*time.Hour, -24*time.Hour)}, nil),
	badTLS("tls-not-yet-valid", "has a certificate that begins tomorrow", leaf{change: valid(24*time.Hour, 48*time.Hour)}, nil),
	badTLS("tls-wrong-host", "has the certificate of another host", leaf{change: forOtherHost}, nil),
	badTLS("tls-name-in-subject", "has a certificate that names its host in the subject only, and in no subjectAltName", leaf{change: namedInSubject}, nil),
	badTLS("tls-self-signed", "has a certificate that it signed itself", leaf{signer: byItself}, nil),
	badTLS("tls-unknown-authority", "has a certificate of an authority that nobody knows", leaf{signer: byStranger}, nil),
	badTLS("tls-incomplete-chain", "does not send the certificate of the authority between its own and the one that is trusted", leaf{signer: byHidden}, nil),
	badTLS("tls-signed-by-no-authority", "has a certificate that is signed with another host's certificate, which is for no authority", leaf{signer: byNoAuthority}, nil),
	badTLS("tls-name-constraints", "has a certificate of an authority that may sign for another host only", leaf{signer: byAuthorityOfOthers}, nil),
	badTLS("tls-unknown-extension", "has a certificate with a critical extension that nobody knows", leaf{change: withUnknownExtension}, nil),
	badTLS("tls-for-clients", "has a certificate that is for clients only", leaf{change: forClients}, nil),
	badTLS("tls-sha1", "has a certificate that is signed with SHA-1", leaf{change: signedWithSHA1}, nil),
	badTLS("tls-weak-key", "has a certificate with an RSA key of 1024 bits", leaf{weak: true}, nil),
	badTLS("tls-weak-cipher", "encrypts with RC4 only", leaf{}, func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}
	}),
	badTLS("tls-old-protocol", "speaks TLS 1.1 and older only", leaf{}, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }),
}

func badTLS(name, does string, l leaf, change func(*tls.Config)) Exhibit {
	return Exhibit{Name: name, Does: does, Good: distrust, Fault: callbackd.FaultTLS,
		port: &port{"https", func(z *Zoo, c net.Conn) bool { return z.handshake(c, l, change) }}}
}

// handshake makes a TLS handshake, reads a request, and answers 200. It reports whether it
// came so far.
func (z *Zoo) handshake(c net.Conn, l leaf, change func(*tls.Config)) bool {
	cert, err := z.authority.issue(l)
	if err != nil {
		return false
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	if change != nil {
		change(cfg)
	}
	tc := tls.Server(c, cfg)
	defer tc.Close()
	if _, err := readRequest(tc); err != nil {
		return false
	}
	answer(tc, "200 OK", "text/plain", "delivered\n")
	return true
}

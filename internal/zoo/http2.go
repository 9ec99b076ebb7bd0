package zoo

import (
	"crypto/tls"
	"io"
	"net"

	"golang.org/x/net/http2"
)

// ofHTTP2 are exhibits whose HTTP/2 is bad. A sender that offers no HTTP/2 gets an answer
// of HTTP/1.1 from them.
var ofHTTP2 = []Exhibit{
	badHTTP2("http2-reset-stream", "ends each stream of HTTP/2 with RST_STREAM instead of an answer", func(f *http2.Framer, stream uint32) error {
		return f.WriteRSTStream(stream, http2.ErrCodeInternal)
	}),
	badHTTP2("http2-goaway", "answers each request of HTTP/2 with GOAWAY, as if it had not read it", func(f *http2.Framer, _ uint32) error {
		return f.WriteGoAway(0, http2.ErrCodeNo, nil)
	}),
	badHTTP2("http2-ping-flood", "sends PING frames of HTTP/2 without end, each of which wants an answer", func(f *http2.Framer, _ uint32) error {
		for {
			if err := f.WritePing(false, [8]byte{}); err != nil {
				return err
			}
		}
	}),
	badHTTP2("http2-settings-flood", "sends SETTINGS frames of HTTP/2 without end, each of which wants an answer", func(f *http2.Framer, _ uint32) error {
		for {
			if err := f.WriteSettings(); err != nil {
				return err
			}
		}
	}),
}

func badHTTP2(name, does string, fault func(f *http2.Framer, stream uint32) error) Exhibit {
	return Exhibit{Name: name, Does: does, Good: takeNothing, port: &port{"https", func(z *Zoo, c net.Conn) bool {
		z.serveHTTP2(c, fault)
		return false
	}}}
}

// serveHTTP2 answers the first request of a connection with a fault, and then only reads.
func (z *Zoo) serveHTTP2(c net.Conn, fault func(f *http2.Framer, stream uint32) error) {
	cert, err := z.authority.issue(leaf{})
	if err != nil {
		return
	}
	tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
	defer tc.Close()
	if err := tc.Handshake(); err != nil {
		return
	}
	if tc.ConnectionState().NegotiatedProtocol != "h2" {
		if _, err := readRequest(tc); err == nil {
			answer(tc, "200 OK", "text/plain", "You speak no HTTP/2, so its faults do not reach you.\n")
		}
		return
	}
	if _, err := io.ReadFull(tc, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(tc, tc)
	if f.WriteSettings() != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := frame.(*http2.HeadersFrame); ok {
			if fault(f, h.StreamID) != nil {
				return
			}
		}
	}
}

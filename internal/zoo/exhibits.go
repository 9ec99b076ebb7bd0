package zoo

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"callbackd"
)

// huge is what a bomb writes at most, in bytes.
const huge = 10 << 30

// dripEvery is the time between two drips.
const dripEvery = 100 * time.Millisecond

// caughtPath is where redirects lead to. Only a sender that follows them comes there.
const caughtPath = "/caught"

// What good senders do.
const (
	limitHead      = "reads a limited number of bytes of status line and headers, with those of 1xx answers, and ends the attempt as failed"
	limitBody      = "takes the 2xx, reads a limited part of the body, and closes the connection"
	limitTime      = "has one deadline for the whole exchange, up to the last byte of the body, which no byte that arrives extends"
	takeStatus     = "takes the 2xx: status and headers are complete, and only the rest of the body is missing or unreadable. It does not use the connection again"
	noAnswer       = "ends the attempt as failed, and repeats it later with the same id, because the receiver may have read the request"
	refuse         = "refuses the answer, which two programs could read differently, and does not use the connection again"
	dontFollow     = "counts the redirect as a failure and does not follow it: the target can be an address of its own network, and the body is for the registered URL"
	limitHandshake = "reads a limited number of bytes of the handshake, sends nothing, and ends the attempt as failed"
	distrust       = "ends the handshake, and sends neither headers nor body"
	takeNothing    = "offers no HTTP/2, or ends the attempt in time, and bounds what it answers to such frames"
)

const (
	okHead  = "HTTP/1.1 200 OK\r\n"
	chunked = okHead + "Transfer-Encoding: chunked\r\n\r\n"
)

// exhibits are all exhibits, in the order of the index page.
var exhibits = slices.Concat(bombs, drips, ends, lies, redirects(), ofPorts, ofTLS, ofHTTP2)

// OfRequests returns the exhibits that first read a request: all but those with a port of
// their own.
func OfRequests() []Exhibit {
	return slices.DeleteFunc(slices.Clone(exhibits), func(x Exhibit) bool { return x.port != nil })
}

// Drips returns the exhibits that never end by themselves.
func Drips() []Exhibit { return slices.Clone(drips) }

var bombs = []Exhibit{
	{Name: "endless-headers", Does: "sends header lines without end", Good: limitHead, Fault: callbackd.FaultProtocol, Serve: func(c net.Conn) {
		io.WriteString(c, okHead)
		flood(c, []byte("X-Padding: "+strings.Repeat("p", 1000)+"\r\n"))
	}},
	{Name: "endless-header", Does: "sends one header line without end", Good: limitHead, Fault: callbackd.FaultProtocol, Serve: func(c net.Conn) {
		io.WriteString(c, okHead+"X-Padding: ")
		flood(c, bytes.Repeat([]byte("p"), 4096))
	}},
	{Name: "endless-status-line", Does: "sends a status line without end", Good: limitHead, Fault: callbackd.FaultProtocol, Serve: func(c net.Conn) { flood(c, bytes.Repeat([]byte("H"), 4096)) }},
	says("large-headers", "sends 37 KB of headers", limitHead, callbackd.FaultProtocol, okHead+"Content-Length: 0\r\n"+strings.Repeat("X-Padding: "+strings.Repeat("p", 1000)+"\r\n", 37)+"\r\n"),
	{Name: "early-hints-flood", Does: "sends 103 Early Hints without end", Good: limitHead, Fault: callbackd.FaultProtocol, Serve: func(c net.Conn) { flood(c, []byte("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")) }},
	{Name: "continue-flood", Does: "sends 100 Continue without end", Good: limitHead, Fault: callbackd.FaultProtocol, Serve: func(c net.Conn) { flood(c, []byte("HTTP/1.1 100 Continue\r\n\r\n")) }},
	{Name: "body-bomb", Does: "announces a body of 10 GiB and sends it", Good: limitBody, Serve: func(c net.Conn) {
		fmt.Fprintf(c, okHead+"Content-Length: %d\r\n\r\n", int64(huge))
		flood(c, bytes.Repeat([]byte("A"), 64<<10))
	}},
	{Name: "endless-body", Does: "sends a body without a length and without end", Good: limitBody, Serve: func(c net.Conn) {
		io.WriteString(c, okHead+"\r\n")
		flood(c, bytes.Repeat([]byte("A"), 64<<10))
	}},
	{Name: "endless-chunks", Does: "sends a chunked body without end", Good: limitBody, Serve: func(c net.Conn) {
		io.WriteString(c, chunked)
		flood(c, fmt.Appendf(nil, "%x\r\n%s\r\n", 64<<10, bytes.Repeat([]byte("A"), 64<<10)))
	}},
	{Name: "gzip-bomb", Does: "sends a gzip body of 10 MB that unpacks to 10 GiB of zeros, though nobody asked for gzip", Good: "asks for no compression and unpacks none; or limits the bytes after unpacking", Serve: gzipBomb},
	{Name: "chunk-extension-flood", Does: "sends chunks of one byte with extensions of 1 KB", Good: limitBody, Serve: func(c net.Conn) {
		io.WriteString(c, chunked)
		flood(c, []byte("1;"+strings.Repeat("e", 1000)+"\r\nA\r\n"))
	}},
	{Name: "endless-chunk-extension", Does: "sends one chunk extension without end", Good: limitBody, Serve: func(c net.Conn) {
		io.WriteString(c, chunked+"1;")
		flood(c, bytes.Repeat([]byte("e"), 4096))
	}},
	{Name: "endless-trailers", Does: "sends trailers after the last chunk without end", Good: limitBody, Serve: func(c net.Conn) {
		io.WriteString(c, okHead+"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n0\r\n")
		flood(c, []byte("X-T: "+strings.Repeat("t", 1000)+"\r\n"))
	}},
}

var drips = []Exhibit{
	drip("silence", "reads the request and never answers", callbackd.FaultTimeout, "", ""),
	drip("slow-status", "sends the status line a byte at a time, without end", callbackd.FaultTimeout, "", "H"),
	drip("slow-headers", "sends a header line every 100 ms, without end", callbackd.FaultTimeout, okHead, "X: y\r\n"),
	drip("slow-body", "announces 100 KB and sends a byte every 100 ms", callbackd.NoFault, okHead+"Content-Length: 100000\r\n\r\n", "b"),
	drip("slow-chunks", "sends a chunk of one byte every 100 ms, without end", callbackd.NoFault, chunked, "1\r\nb\r\n"),
	drip("never-closed", "sends a body that ends with the connection, and never closes it", callbackd.NoFault, okHead+"Connection: close\r\n\r\nbody", ""),
}

var ends = []Exhibit{
	{Name: "half-close", Does: "closes its side of the connection without an answer", Good: noAnswer, Fault: callbackd.FaultProtocol, Serve: func(c net.Conn) { closeWrite(c) }},
	{Name: "half-close-in-body", Does: "closes its side of the connection within the body", Good: takeStatus, Serve: func(c net.Conn) {
		io.WriteString(c, okHead+"Content-Length: 100\r\n\r\nhalf")
		closeWrite(c)
	}},
	{Name: "reset", Does: "resets the connection without an answer", Good: noAnswer, Fault: callbackd.FaultProtocol, Serve: reset},
	{Name: "reset-in-body", Does: "resets the connection within the body", Good: takeStatus, Serve: func(c net.Conn) {
		io.WriteString(c, okHead+"Content-Length: 100\r\n\r\nhalf")
		reset(c)
	}},
	says("cut-in-chunk", "closes the connection within a chunk", takeStatus, callbackd.NoFault, chunked+"ff\r\nhalf"),
	says("no-last-chunk", "closes the connection after a chunk, without the last one", takeStatus, callbackd.NoFault, chunked+"4\r\nhalf\r\n"),
}

var lies = []Exhibit{
	says("bad-chunk-size", "sends a chunk whose size is no number", takeStatus, callbackd.NoFault, chunked+"zz\r\nhalf\r\n0\r\n\r\n"),
	says("two-lengths", "sends two different lengths", refuse, callbackd.FaultProtocol, okHead+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
	says("negative-length", "sends the length -1", refuse, callbackd.FaultProtocol, okHead+"Content-Length: -1\r\n\r\n"),
	says("huge-length", "sends a length that fits no integer", refuse, callbackd.FaultProtocol, okHead+"Content-Length: 99999999999999999999\r\n\r\n"),
	says("length-and-chunks", "sends a chunked body with a Content-Length that is too short", "reads the chunks or refuses the answer, and does not use the connection again", callbackd.NoFault, okHead+"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
	says("two-answers", "sends a second answer that nobody asked for after the first one", "takes the first, and does not use the connection again: the second would be taken for the answer to the next request", callbackd.NoFault, okHead+"Content-Length: 2\r\n\r\nokHTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
	says("switching-protocols", "answers 101 and goes on in another protocol", "counts anything but 2xx as a failure, and closes the connection", callbackd.FaultStatus, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nwhatever"),
	says("not-http", "answers in another protocol", noAnswer, callbackd.FaultProtocol, "SSH-2.0-OpenSSH_9.9\r\n\r\n"),
}

// says returns an exhibit that answers with the same bytes.
func says(name, does, good string, fault callbackd.Fault, text string) Exhibit {
	return Exhibit{Name: name, Does: does, Good: good, Fault: fault, Serve: func(c net.Conn) { io.WriteString(c, text) }}
}

// drip returns an exhibit that sends first, and then text again and again until the sender
// has gone.
func drip(name, does string, fault callbackd.Fault, first, text string) Exhibit {
	return Exhibit{Name: name, Does: does, Good: limitTime, Fault: fault, Serve: func(c net.Conn) { dripInto(c, first, text) }}
}

func dripInto(c net.Conn, first, text string) {
	io.WriteString(c, first)
	gone := make(chan struct{})
	go func() { io.Copy(io.Discard, c); close(gone) }()
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			return
		case <-tick.C:
			if _, err := io.WriteString(c, text); err != nil {
				c.Close()
			}
		}
	}
}

// redirects returns an exhibit for each kind of redirect.
func redirects() (out []Exhibit) {
	for _, status := range []string{"300 Multiple Choices", "301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"} {
		out = append(out, redirect("redirect-"+status[:3], status, caughtPath, "redirects with the status "+status[:3]))
	}
	return append(out,
		redirect("redirect-loop", "307 Temporary Redirect", "/redirect-loop", "redirects to itself"),
		redirect("redirect-to-metadata", "307 Temporary Redirect", "http://169.254.169.254/latest/meta-data/", "redirects to the address at which clouds tell a machine its secrets"),
		redirect("redirect-to-file", "302 Found", "file:///etc/passwd", "redirects to a file"),
		redirect("redirect-refresh", "302 Found", "", "redirects without a target"))
}

func redirect(name, status, to, does string) Exhibit {
	head := "HTTP/1.1 " + status + "\r\n"
	if to != "" {
		head += "Location: " + to + "\r\n"
	}
	return says(name, does, dontFollow, callbackd.FaultStatus, head+"Content-Length: 0\r\nConnection: close\r\n\r\n")
}

// flood writes chunk until the sender has had enough.
func flood(w io.Writer, chunk []byte) {
	for n := int64(0); n < huge; {
		m, err := w.Write(chunk)
		n += int64(m)
		if err != nil {
			return
		}
	}
}

// closeWrite closes one direction of a connection and waits until the sender has gone.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	io.Copy(io.Discard, c)
}

// reset makes the end of a connection a reset.
func reset(c net.Conn) {
	if tcp, ok := c.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
}

// packed is a gzip member of zeros. Members that follow each other unpack as one body.
var packed = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range packedSize >> 20 {
		w.Write(zeros)
	}
	w.Close()
	return b.Bytes()
})

const packedSize = 16 << 20 // bytes that packed unpacks to

func gzipBomb(c net.Conn) {
	member, n := packed(), huge/packedSize
	fmt.Fprintf(c, okHead+"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", n*len(member))
	for range n {
		if _, err := c.Write(member); err != nil {
			return
		}
	}
}

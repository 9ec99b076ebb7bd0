package home

import (
	"encoding/binary"
	"net/http"
	"net/netip"

	"callbackd"
)

// Kinds of frames. Each frame begins with its kind; all but goodbye then have the number
// of a call. The node that forwards calls gives out the numbers.
const (
	frameCall    = 'c' // a call: what appendCall wrote
	frameCancel  = 'x' // the client has left, so the answer is not needed
	frameAnswer  = 'a' // what answerWriter wrote
	frameNotHome = 'n' // not taken: the node is not the key's home
	frameRefused = 'r' // not taken, for another reason
	frameBroken  = 'b' // taken, but there is no answer
	frameGoodbye = 'g' // the node stops: it takes no more calls
)

// appendFrame begins a frame.
func appendFrame(b []byte, kind byte, number uint64) []byte {
	return binary.AppendUvarint(append(b, kind), number)
}

// appendCall appends a call to the frame that it is sent in. Its body is the rest of the
// frame.
func appendCall(b []byte, h hop, r *http.Request, body []byte) []byte {
	b = binary.AppendVarint(b, h.at)
	b = binary.AppendVarint(b, int64(h.key))
	if h.secure {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	var addr [64]byte
	text := addr[:0]
	if h.client.IsValid() {
		text = h.client.AppendTo(text)
	}
	b = appendText(b, string(text))
	b = appendText(b, r.Method)
	b = appendText(b, r.URL.RequestURI())
	b = appendText(b, r.Host)
	b = appendFields(b, r.Header)
	return append(b, body...)
}

// parsedCall is a call that arrived in a frame.
type parsedCall struct {
	hop                  hop
	method, target, host string
	header               http.Header
	body                 string
}

// parseCall reads what appendCall wrote.
func parseCall(s string) (c parsedCall, ok bool) {
	p := parser{rest: s}
	c.hop.at = p.varint()
	c.hop.key = callbackd.KeyID(p.varint())
	c.hop.secure = p.uvarint() == 1
	if text := p.text(); text != "" {
		var err error
		if c.hop.client, err = netip.ParseAddr(text); err != nil {
			return parsedCall{}, false
		}
	}
	c.method, c.target, c.host = p.text(), p.text(), p.text()
	c.header = p.fields()
	c.body = p.rest
	return c, !p.failed
}

// appendFields appends the headers that are not only for one connection.
func appendFields(b []byte, h http.Header) []byte {
	at, n := len(b), 0
	b = append(b, 0, 0)
	for name, value := range endToEnd(h) {
		b = appendText(appendText(b, name), value)
		n++
	}
	binary.BigEndian.PutUint16(b[at:], uint16(n)) // the limit on headers keeps the number below 64 Ki
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parser reads a frame. After a failure it returns only zeros.
type parser struct {
	rest   string
	failed bool
}

// fail notes that the frame is broken.
func (p *parser) fail() {
	p.rest, p.failed = "", true
}

func (p *parser) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(p.rest) && i < binary.MaxVarintLen64; i++ {
		c := p.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			p.rest = p.rest[i+1:]
			return v
		}
	}
	p.fail()
	return 0
}

func (p *parser) varint() int64 {
	v := p.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (p *parser) bytes(n uint64) string {
	if n > uint64(len(p.rest)) {
		p.fail()
		return ""
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *parser) text() string { return p.bytes(p.uvarint()) }

func (p *parser) uint16() int {
	s := p.bytes(2)
	if p.failed {
		return 0
	}
	return int(s[0])<<8 | int(s[1])
}

// fields reads what appendFields wrote.
func (p *parser) fields() http.Header {
	n := p.uint16()
	if 2*n > len(p.rest) { // a field has two lengths at least
		p.fail()
		return nil
	}
	h := make(http.Header, n)
	values := make([]string, 0, n)
	for range n {
		name, value := p.text(), p.text()
		if h[name] != nil {
			h[name] = append(h[name], value)
			continue
		}
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	return h
}

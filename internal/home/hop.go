package home

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
)

// Headers between nodes. A client that sends them gains nothing: nodes read them at their
// own listener only, and replace them when they forward a call.
const (
	hopHeader   = "Callbackd-Hop"      // in a request: a hop; in an answer: the node has taken the request
	proofHeader = "Callbackd-Proof"    // in the answer to a ping
	nonceHeader = "Callbackd-Nonce"    // in the answer to a request for frames
	notHome     = "Callbackd-Not-Home" // in a refusal: the node is not the key's home
)

// validity is how far the time of a hop may be from the time of the node that it is
// meant for.
const validity = 30 * time.Second

// hop is what a node says about a call that it forwards.
type hop struct {
	at     int64            // seconds since 1970
	node   callbackd.NodeID // that it is meant for
	key    callbackd.KeyID  // 0: a ping
	client netip.Addr
	secure bool // the client uses TLS

	signedWith *nodeKey // of a hop that was read: the key that signed it
}

// text appends a hop in the form of its header, without the signature.
func (h hop) text(b []byte) []byte {
	b = strconv.AppendInt(b, h.at, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(h.node), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(h.key), 10)
	b = append(b, ' ')
	b = strconv.AppendBool(b, h.secure)
	b = append(b, ' ')
	if h.client.IsValid() {
		return h.client.AppendTo(b)
	}
	return append(b, '-')
}

// parseHop reads what text wrote.
func parseHop(s string) (h hop, ok bool) {
	f := strings.Split(s, " ")
	if len(f) != 5 {
		return hop{}, false
	}
	var numbers [3]int64
	for i := range numbers {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return hop{}, false
		}
		numbers[i] = n
	}
	secure, err := strconv.ParseBool(f[3])
	if err != nil {
		return hop{}, false
	}
	h = hop{at: numbers[0], node: callbackd.NodeID(numbers[1]), key: callbackd.KeyID(numbers[2]), secure: secure}
	if f[4] != "-" {
		if h.client, err = netip.ParseAddr(f[4]); err != nil {
			return hop{}, false
		}
	}
	return h, true
}

// signer signs with the keys of this node. While keys are replaced, two nodes may have
// only some of them in common. So a node signs a request with each of its keys. The other
// one proves itself with the first of them that it has too, and both seal the frames of
// the connection with that key.
type signer struct {
	keys atomic.Pointer[[]*nodeKey]
}

// nodeKey is a key by which nodes know each other.
type nodeKey struct {
	secret []byte
	hashes sync.Pool // of hash.Hash
}

func newNodeKey(secret []byte) *nodeKey {
	return &nodeKey{secret: secret, hashes: sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}
}

// maxKeys limits the signatures of one request.
const maxKeys = 8

// all returns the keys, of which the first ones are preferred.
func (s *signer) all() []*nodeKey { return *s.keys.Load() }

// set replaces the keys. Each that stays is the same nodeKey as before.
func (s *signer) set(secrets [][]byte) {
	var old, keys []*nodeKey
	if now := s.keys.Load(); now != nil {
		old = *now
	}
	for _, secret := range secrets[:min(len(secrets), maxKeys)] {
		i := slices.IndexFunc(old, func(k *nodeKey) bool { return bytes.Equal(k.secret, secret) })
		if i >= 0 {
			keys = append(keys, old[i])
		} else {
			keys = append(keys, newNodeKey(secret))
		}
	}
	s.keys.Store(&keys)
}

// has reports whether a key is still in use.
func (s *signer) has(key *nodeKey) bool { return slices.Contains(s.all(), key) }

// sum appends the signature of a text with one of the keys.
func sum(b []byte, key *nodeKey, text []byte) []byte {
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.AppendEncode(b, mac(sum[:0], key, text))
}

// mac appends the HMAC of a text with one of the keys.
func mac(b []byte, key *nodeKey, text []byte) []byte {
	h := key.hashes.Get().(hash.Hash)
	defer key.hashes.Put(h)
	h.Reset()
	h.Write(text)
	return h.Sum(b)
}

// frameKeys returns the keys of the frames of one connection: those of calls, and those
// of answers. They depend on what both sides chose for this connection only, so that
// frames of another one cannot be repeated on it.
func frameKeys(key *nodeKey, target, nonce string, node callbackd.NodeID) (calls, answers []byte) {
	text := strconv.AppendInt([]byte("callbackd frames\n"+target+"\n"+nonce+"\n"), int64(node), 10)
	return mac(nil, key, append(text, "\ncalls"...)), mac(nil, key, append(text, "\nanswers"...))
}

// signed returns the text that the signature of a hop covers.
func signed(b []byte, method, target string, hop string) []byte {
	b = append(b, "callbackd hop\n"...)
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, '\n')
	return append(b, hop...)
}

// header appends the value of the header of a hop: its text and a signature of each key.
func (s *signer) header(b []byte, h hop, method, target string) []byte {
	begin := len(b)
	b = h.text(b)
	var room [512]byte
	text := signed(room[:0], method, target, string(b[begin:]))
	for i, key := range s.all() {
		b = append(b, separators[min(i, 1)])
		b = sum(b, key, text)
	}
	return b
}

// separators stand before the first signature and before the others.
const separators = " ,"

// read returns the hop in the value of a header when it is signed and its time is near
// now.
func (s *signer) read(value, method, target string, now time.Time) (hop, bool) {
	end := strings.LastIndexByte(value, ' ')
	if end < 0 {
		return hop{}, false
	}
	var room [512]byte
	key := s.verify(signed(room[:0], method, target, value[:end]), value[end+1:])
	if key == nil {
		return hop{}, false
	}
	h, ok := parseHop(value[:end])
	h.signedWith = key
	return h, ok && h.isFresh(now)
}

// isFresh reports whether the time of a hop is near now.
func (h hop) isFresh(now time.Time) bool { return now.Sub(time.Unix(h.at, 0)).Abs() <= validity }

// verify returns the key that made one of the signatures, or nil when none of the keys
// did. The order of the keys decides between two.
func (s *signer) verify(text []byte, signatures string) *nodeKey {
	if strings.Count(signatures, ",") >= maxKeys {
		return nil
	}
	for _, key := range s.all() {
		var room [64]byte
		want := sum(room[:0], key, text)
		for signature := range strings.SplitSeq(signatures, ",") {
			if subtle.ConstantTimeCompare(want, []byte(signature)) == 1 {
				return key
			}
		}
	}
	return nil
}

// proof returns what a node answers to a ping or to a request for frames: a signature of
// the nonce and of the node's own ID, with the key that signed the request. A program that
// does not have the key cannot make it.
func proof(key *nodeKey, nonce string, node callbackd.NodeID) string {
	return string(sum(nil, key, proofText(nonce, node)))
}

func proofText(nonce string, node callbackd.NodeID) []byte {
	return strconv.AppendInt([]byte("callbackd proof\n"+nonce+"\n"), int64(node), 10)
}

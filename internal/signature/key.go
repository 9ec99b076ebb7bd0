package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// Key is a secret that is ready for HMAC-SHA256. To get it ready costs about as much as
// to sign a short text, so whoever signs often keeps its keys. A Key is safe for
// concurrent use.
type Key struct{ macs sync.Pool }

// mac is the state of one computation.
type mac struct {
	hash.Hash
	room [sha256.Size]byte // a local variable would be allocated for each sum
}

// NewKey returns the key of a secret's bytes. The caller must not change them.
func NewKey(secret []byte) *Key {
	return &Key{macs: sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, secret)} }}}
}

// sum returns the HMAC of a text in two parts.
func (k *Key) sum(head, rest []byte) [sha256.Size]byte {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.Reset()
	m.Write(head)
	m.Write(rest)
	return [sha256.Size]byte(m.Sum(m.room[:0]))
}

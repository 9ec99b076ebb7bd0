package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// Key is a secret that is ready for HMAC-SHA256. To get it ready costs about as much as
// to sign a short text, so a caller that signs often should keep its keys. A Key is safe
// for concurrent use.
type Key struct{ macs sync.Pool }

// mac is the state of one computation.
type mac struct {
	hash.Hash
	// Local variables would be allocated for each computation.
	head []byte
	room [sha256.Size]byte
}

// NewKey returns the key of a secret's bytes. The caller must not change them.
func NewKey(secret []byte) *Key {
	return &Key{macs: sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, secret)} }}}
}

// Hex returns the HMAC-SHA256 of a body in hex, as many receivers verify it.
func (k *Key) Hex(body []byte) string {
	sum := k.sum(body)
	return hex.EncodeToString(sum[:])
}

// sum returns the HMAC of the parts of a head and of what follows them.
func (k *Key) sum(body []byte, head ...string) [sha256.Size]byte {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.Reset()
	m.head = m.head[:0]
	for _, part := range head {
		m.head = append(m.head, part...)
	}
	m.Write(m.head)
	m.Write(body)
	return [sha256.Size]byte(m.Sum(m.room[:0]))
}

package callbackd

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AuditChain is the state of one chain of audit entries. It is stored with a seal, so that
// entries at its start and at its end cannot be removed without a trace.
type AuditChain struct {
	Key   KeyID
	First int64     // the number of the oldest stored entry; Last + 1 when there is none
	Last  int64     // the number of the newest entry; 0 before the first
	Start AuditHash // the hash before First
	Head  AuditHash // the hash of Last
	At    time.Time // of the newest entry
	// Chains is how many chains there are besides this one. Only the chain of no key
	// counts them, so that no chain can be removed as a whole.
	Chains int64
}

// NewAuditChain returns the chain of a key before its first entry.
func NewAuditChain(key KeyID) AuditChain { return AuditChain{Key: key, First: 1} }

// Seal returns the keyed hash of c.
func (c *AuditChain) Seal(key []byte) AuditHash {
	return auditMAC(key, "chain", numberBytes(int64(c.Key)), numberBytes(c.First), numberBytes(c.Last), c.Start[:], c.Head[:],
		numberBytes(unixMilli(c.At)), numberBytes(c.Chains))
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Append makes e the newest entry at the time now, or at the time of the one before when
// the clock went back.
func (c *AuditChain) Append(key []byte, e *AuditEntry, now time.Time) {
	e.At = now.UTC().Truncate(time.Millisecond)
	if e.At.Before(c.At) {
		e.At = c.At
	}
	e.Key, e.Number = c.Key, c.Last+1
	e.Actor, e.Subject = e.Actor.Clipped(), clipStored(e.Subject, MaxAuditSubject)
	e.Hash = e.Link(key, c.Head)
	c.Last, c.Head, c.At = e.Number, e.Hash, e.At
}

// auditSlack is by how much a chain exceeds MaxAudit before entries are removed, so that
// not every entry removes one.
const auditSlack = 100

// Excess returns the number of the newest entry that is one too many; 0 when none is.
func (c *AuditChain) Excess() int64 {
	if c.Last-c.First+1 <= MaxAudit+auditSlack {
		return 0
	}
	return c.Last - MaxAudit
}

// Forget removes the entries up to a number, whose hash is given, from c.
func (c *AuditChain) Forget(number int64, hash AuditHash) {
	c.First, c.Start = number+1, hash
}

// AuditOwner names the owner of a chain in messages.
func AuditOwner(key KeyID) string {
	if key == 0 {
		return ByOperator
	}
	return ByKey(key)
}

// AuditHead is the newest entry of a chain at some time. A person who notes it can prove
// later that no entry up to it was changed or removed.
type AuditHead struct {
	Key    KeyID
	Number int64
	Hash   AuditHash
}

// HeadOf returns the head of c.
func (c *AuditChain) HeadOf() AuditHead { return AuditHead{c.Key, c.Last, c.Head} }

// String returns the head as text: the number of the chain, that of the entry, and the
// hash, with dots between them.
func (h AuditHead) String() string { return fmt.Sprintf("%d.%d.%s", h.Key, h.Number, h.Hash) }

// ParseAuditHead reads what [AuditHead.String] writes.
func ParseAuditHead(s string) (h AuditHead, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return h, false
	}
	key, err := strconv.ParseInt(parts[0], 10, 64)
	number, err2 := strconv.ParseInt(parts[1], 10, 64)
	hash, err3 := hex.DecodeString(parts[2])
	if err != nil || err2 != nil || err3 != nil || len(hash) != len(h.Hash) || key < 0 || number < 0 {
		return h, false
	}
	h.Key, h.Number = KeyID(key), number
	copy(h.Hash[:], hash)
	return h, h.String() == s
}

// AuditCheck checks a chain, entry by entry.
type AuditCheck struct {
	chain   AuditChain
	key     []byte
	heads   map[int64]AuditHash // noted heads of the chain by number
	fault   func(format string, args ...any)
	next    int64     // the number of the next entry
	before  AuditHash // the hash before it
	unknown bool      // before is not known, because entries are missing
}

// NewAuditCheck begins the check of a chain as it is stored, with its seal and with heads
// that were noted earlier. It calls fault with a sentence for each thing that is wrong.
func NewAuditCheck(c AuditChain, seal AuditHash, key []byte, heads []AuditHead, fault func(format string, args ...any)) *AuditCheck {
	k := &AuditCheck{chain: c, key: key, heads: map[int64]AuditHash{}, fault: fault, next: c.First, before: c.Start}
	if c.Seal(key) != seal {
		fault("the start or the end of the audit log of %s was changed", AuditOwner(c.Key))
	}
	for _, h := range heads {
		switch {
		case h.Key != c.Key:
			continue
		case h.Number > c.Last:
			fault("the audit log of %s ends with entry %d, but had entry %d when its head was noted", AuditOwner(c.Key), c.Last, h.Number)
		case h.Number == c.First-1 && h.Hash != c.Start:
			k.differs(h.Number)
		case h.Number >= c.First:
			k.heads[h.Number] = h.Hash
		}
	}
	return k
}

func (k *AuditCheck) differs(number int64) {
	k.fault("entry %d of the audit log of %s is another one than when its head was noted", number, AuditOwner(k.chain.Key))
}

// Entry checks the next entry. Entries come in the order of their numbers.
func (k *AuditCheck) Entry(e *AuditEntry) {
	owner := AuditOwner(k.chain.Key)
	if e.Number < k.next || e.Number > k.chain.Last {
		k.fault("entry %d of the audit log of %s does not belong there: the log has entries %d to %d", e.Number, owner, k.chain.First, k.chain.Last)
		return
	}
	k.missing(e.Number - 1)
	if !k.unknown && e.Link(k.key, k.before) != e.Hash {
		k.fault("entry %d of the audit log of %s was changed", e.Number, owner)
	}
	if noted, ok := k.heads[e.Number]; ok && noted != e.Hash {
		k.differs(e.Number)
	}
	k.next, k.before, k.unknown = e.Number+1, e.Hash, false
}

// missing reports that the entries from the next one up to last are missing, if any is.
func (k *AuditCheck) missing(last int64) {
	switch owner := AuditOwner(k.chain.Key); {
	case last < k.next:
		return
	case last == k.next:
		k.fault("entry %d of the audit log of %s is missing", last, owner)
	default:
		k.fault("entries %d to %d of the audit log of %s are missing", k.next, last, owner)
	}
	k.next, k.unknown = last+1, true
}

// End ends the check, after the last entry.
func (k *AuditCheck) End() {
	k.missing(k.chain.Last)
	if !k.unknown && k.before != k.chain.Head {
		k.fault("entry %d of the audit log of %s is not the one with which the log ends", k.chain.Last, AuditOwner(k.chain.Key))
	}
}

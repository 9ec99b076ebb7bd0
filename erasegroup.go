package callbackd

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// EraseGroupID is the id of an [EraseGroup]: the number of the first of its erasures. It is 0
// for an erasure that belongs to none.
type EraseGroupID int64

// String returns the id as the API writes it: "erg_" and 13 digits of base32.
func (id EraseGroupID) String() string { return "erg_" + encode63(int64(id)) }

// ParseEraseGroupID parses what [EraseGroupID.String] returns.
func ParseEraseGroupID(s string) (EraseGroupID, bool) {
	digits, ok := strings.CutPrefix(s, "erg_")
	if !ok {
		return 0, false
	}
	n, ok := decode63(digits)
	return EraseGroupID(n), ok && n > 0
}

// EraseGroup is an erasure over all API keys: the erasures that one order has started, one
// in each key. They are stored in one transaction.
type EraseGroup struct {
	ID     EraseGroupID
	Keys   int     // in how many API keys it was started
	Erases []Erase // those that are still stored, oldest first; at least one
}

// Running reports whether an erasure of the group goes on.
func (g *EraseGroup) Running() bool {
	for i := range g.Erases {
		if g.Erases[i].Running() {
			return true
		}
	}
	return false
}

// EndedAt returns when the last erasure of the group ended; zero while one runs.
func (g *EraseGroup) EndedAt() (at time.Time) {
	if g.Running() {
		return at
	}
	for i := range g.Erases {
		if e := &g.Erases[i]; e.EndedAt.After(at) {
			at = e.EndedAt
		}
	}
	return at
}

// Counted returns the API keys of a dry run that has ended, and the subject in each. It fails when
// g is no such one: nothing else may be erased as it was counted.
func (g *EraseGroup) Counted() (keys []KeyID, subjects map[KeyID]string, err error) {
	if !g.Erases[0].DryRun || g.Running() {
		return nil, nil, Errorf(KindConflict, "%s is not a dry run that has ended; only what such a one has counted is erased here.", g.ID)
	}
	if len(g.Erases) != g.Keys {
		return nil, nil, Errorf(KindConflict, "The dry run %s is no longer stored as a whole; make another one.", g.ID)
	}
	subjects = map[KeyID]string{}
	for i := range g.Erases {
		e := &g.Erases[i]
		keys, subjects[e.Key] = append(keys, e.Key), e.Subject
	}
	return keys, subjects, nil
}

// Counts returns the sums of the counts of all erasures of the group.
func (g *EraseGroup) Counts() (sum EraseCounts) {
	for i := range g.Erases {
		c := &g.Erases[i].Progress.Counts
		sum.Sessions += c.Sessions
		sum.Documents += c.Documents
		sum.Photos += c.Photos
		sum.Notes += c.Notes
		sum.Events += c.Events
		sum.Canceled += c.Canceled
		sum.Attempts += c.Attempts
		sum.Callbacks += c.Callbacks
		sum.Idempotency += c.Idempotency
		sum.Logs += c.Logs
		sum.Reasons += c.Reasons
	}
	return sum
}

// eraseGroupReceipt is what the receipt of a group says. Its members, and those of
// groupedReceipt, are in alphabetical order, as canonical JSON has them.
type eraseGroupReceipt struct {
	By        EraseBy          `json:"by"`
	Counts    json.RawMessage  `json:"counts"`
	CreatedAt string           `json:"created_at"`
	DryRun    bool             `json:"dry_run"`
	EndedAt   string           `json:"ended_at"`
	Erases    []groupedReceipt `json:"erases"`
	ID        string           `json:"id"`
	Beyond    []string         `json:"not_reached"`
}

type groupedReceipt struct {
	APIKey string `json:"api_key"`
	ID     string `json:"id"`
	SHA256 string `json:"receipt_sha256"`
}

// Receipt returns the receipt of the group as canonical JSON: the sums, and the hash of each
// erasure's receipt. It is nil while an erasure runs, and when one is no longer stored,
// because then it would not say all.
func (g *EraseGroup) Receipt() ([]byte, error) {
	if g.Running() || len(g.Erases) != g.Keys {
		return nil, nil
	}
	counts, err := g.Counts().canonical()
	if err != nil {
		return nil, err
	}
	first := &g.Erases[0]
	r := eraseGroupReceipt{By: first.By, Counts: counts, CreatedAt: receiptTime(first.CreatedAt), DryRun: first.DryRun, EndedAt: receiptTime(g.EndedAt()), ID: g.ID.String(), Beyond: notReached}
	for i := range g.Erases {
		e := &g.Erases[i]
		var of eraseReceipt
		if err := json.Unmarshal(e.Receipt, &of); err != nil {
			return nil, fmt.Errorf("the receipt of %s cannot be read: %w", e.ID, err)
		}
		r.Erases = append(r.Erases, groupedReceipt{of.APIKey, e.ID.String(), ReceiptHash(e.Receipt)})
	}
	return json.Marshal(r)
}

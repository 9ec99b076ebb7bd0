package store

import (
	"context"
	"time"

	"callbackd"
)

// Audits reads the audit log. Every command that changes a setting, or that a person
// gives, writes an entry in its own transaction, with the actor of its context: see
// [WithActor]. The time of an entry is that of the store's clock, because it says when
// the change was written.
type Audits interface {
	// ListAudit returns entries, newest first: by At, then by key, then by Number,
	// descending.
	ListAudit(ctx context.Context, q AuditQuery) (AuditPage, error)
	// VerifyAudit checks all chains, and the noted heads. It calls step now and then with how
	// many of how many entries are checked. When step returns false the check ends and the
	// report is Partly. A step of nil checks everything.
	VerifyAudit(ctx context.Context, heads []callbackd.AuditHead, step AuditStep) (*AuditReport, error)
}

// AuditStep is told how many of how many entries are checked, and says whether to go on.
type AuditStep func(done, total int64) bool

// Servers audits what concerns a server as a whole. server names its machine.
type Servers interface {
	// NoteOptions stores the options with which a server starts, and audits them when they
	// differ from those of its last start. A server that the store does not know is compared
	// with the one whose options were stored last: so a container under a new name leaves an
	// entry only when its options are others than those of the one that it replaces. at is
	// when it started. The store remembers MaxServers servers.
	NoteOptions(ctx context.Context, server string, options []callbackd.ServerOption, at time.Time) error
	// Note audits a change of something outside of the store: of what a running server logs, or
	// of a keyset. subject names the machine or the file.
	Note(ctx context.Context, action callbackd.AuditAction, subject string, before, after callbackd.AuditState) error
}

// AuditQuery chooses entries. Zero members choose all.
type AuditQuery struct {
	Key    callbackd.KeyID // AllKeys also chooses the entries that belong to no key
	Action callbackd.AuditAction
	Kind   callbackd.ActorKind
	Target callbackd.CallbackID
	Since  time.Time
	Until  time.Time
	After  AuditCursor
	Limit  int // 1 to MaxPage
}

// Fits reports whether q chooses e by action, actor, target and Until. It does not look at
// Since, before which a list ends.
func (q *AuditQuery) Fits(e *callbackd.AuditEntry) bool {
	return (q.Action == "" || e.Action == q.Action) && (q.Kind == "" || e.Actor.Kind == q.Kind) && (q.Target == 0 || e.Target == q.Target) &&
		(q.Until.IsZero() || e.At.Before(q.Until))
}

// AuditCursor is the entry after which a page begins; zero at the start.
type AuditCursor struct {
	At     time.Time
	Key    callbackd.KeyID
	Number int64
}

// AuditPage is one page. Next is zero at the end. A page that ends at MaxScan may be
// short or even empty, and still has a Next.
type AuditPage struct {
	Entries []callbackd.AuditEntry
	Next    AuditCursor
}

// AuditReport is the result of VerifyAudit.
type AuditReport struct {
	Report                        // has the faults
	Chains []callbackd.AuditChain // by key
	Broken []callbackd.KeyID      // whose chains have faults; 0 for the one of no key
	// Entries is how many entries were checked, and Partly tells that there may be more.
	// Whether a whole chain is missing is checked before the entries.
	Entries int64
	Partly  bool
}

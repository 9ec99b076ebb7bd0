package store

import (
	"context"
	"time"

	"callbackd"
)

// Erases stores erasures and makes their steps.
type Erases interface {
	// CreateErase stores an erasure of value, which [callbackd.EraseBy.EraseValue] has
	// made. It reads only Key, By, DryRun, CreatedAt and Subject of e. It covers the events of
	// the key that are accepted by now. It fails with KindLimited beyond MaxErases, and with
	// KindInvalid when Subject is given and that of value is another one.
	CreateErase(ctx context.Context, e callbackd.Erase, value string) (*callbackd.Erase, error)
	// CreateErases stores an erasure in each of keys, or in none when one fails. It is
	// CreateErase otherwise; Key of e is not read. With a Group, which is a dry run over all
	// keys, it erases in the keys of that one instead, and each subject must be the same.
	CreateErases(ctx context.Context, e callbackd.Erase, keys []callbackd.KeyID, value string) (*callbackd.EraseGroup, error)
	// EraseGroup returns what CreateErases has stored, as it is now.
	EraseGroup(ctx context.Context, id callbackd.EraseGroupID) (*callbackd.EraseGroup, error)
	// ListEraseGroups returns erasures over all keys, newest first: at most [MaxEraseGroupRows]
	// erasures in all, but one group at least.
	ListEraseGroups(ctx context.Context, q EraseGroupQuery) (EraseGroupPage, error)
	// Erase returns one erasure of the key, or of any key with AllKeys.
	Erase(ctx context.Context, key callbackd.KeyID, id callbackd.EraseID) (*callbackd.Erase, error)
	// ListErases returns erasures, newest first.
	ListErases(ctx context.Context, q EraseQuery) (ErasePage, error)
	// StepErase does the next part of an erasure. It writes what it erased in one
	// transaction with the progress, so that a crash loses nothing of the counts.
	StepErase(ctx context.Context, id callbackd.EraseID, at time.Time) (EraseStep, error)
}

// EraseQuery chooses erasures.
type EraseQuery struct {
	Key     callbackd.KeyID   // AllKeys is possible
	Running bool              // only those that have not ended
	After   callbackd.EraseID // cursor; 0 at the start
	Limit   int               // 1 to MaxPage
}

// ErasePage is one page. Next is 0 at the end.
type ErasePage struct {
	Erases []callbackd.Erase
	Next   callbackd.EraseID
}

// MaxEraseGroupRows is how many erasures a page of groups has when it has more than one group.
const MaxEraseGroupRows = 1000

// EraseGroupQuery chooses erasures over all keys.
type EraseGroupQuery struct {
	After callbackd.EraseGroupID // cursor; 0 at the start
	Limit int                    // of groups, 1 to MaxPage
}

// EraseGroupPage is one page. Next is 0 at the end.
type EraseGroupPage struct {
	Groups []callbackd.EraseGroup
	Next   callbackd.EraseGroupID
}

// EraseStep is what StepErase did.
type EraseStep struct {
	Canceled []callbackd.Delivery // the engine must let go of them
	Erase    *callbackd.Erase     // after the step
	Waits    bool                 // the database is in use; the next step should come later
}

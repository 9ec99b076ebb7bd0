package console

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"callbackd/internal/store"
)

const (
	// auditCheckEvery is for how long the result of a check of the audit log is shown.
	auditCheckEvery = time.Minute
	// auditCheckLimit bounds a check, because a page waits for it.
	auditCheckLimit = 2 * time.Second
	// shownAuditFaults is how many faults the page spells out.
	shownAuditFaults = 5
)

// auditCheck has the latest check of the whole audit log.
type auditCheck struct {
	mu     sync.Mutex
	at     time.Time
	report *store.AuditReport // nil when the check has not come to its end
	err    error              // why not
}

// auditState is what a page says of the audit log.
type auditState struct {
	At       time.Time
	Complete bool
	TooLong  bool // to be verified while a page waits
	Failed   bool // to be verified, for another reason
	Operator bool
	Faults   []string // for the operator
	More     int64    // further faults
}

// auditState verifies the audit log, unless that was done in the last minute, and returns what
// it says about the logs that a page shows. Who sees one API key is told only whether its log
// is broken.
func (c *Console) auditState(req *userRequest) *auditState {
	c.auditCheck.mu.Lock()
	defer c.auditCheck.mu.Unlock()
	if k := &c.auditCheck; k.at.IsZero() || c.now().Sub(k.at) >= auditCheckEvery {
		// It goes on when the visitor leaves: otherwise one who leaves again and again would have
		// it begin each time.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), auditCheckLimit)
		report, err := c.Store.VerifyAudit(ctx, nil, nil)
		cancel()
		k.at, k.report, k.err = c.now(), report, err
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			c.Log.Warn("the audit log cannot be verified", "error", err)
		}
	}
	return c.auditCheck.state(req)
}

func (k *auditCheck) state(req *userRequest) *auditState {
	s := &auditState{At: k.at, Operator: req.isOperator()}
	switch {
	case errors.Is(k.err, context.DeadlineExceeded):
		s.TooLong = true
	case k.err != nil:
		s.Failed, s.Faults = true, []string{k.err.Error()}
	case s.Operator:
		s.Faults = k.report.Faults[:min(len(k.report.Faults), shownAuditFaults)]
		s.More = k.report.FaultN - int64(len(s.Faults))
		s.Complete = k.report.FaultN == 0
	default:
		s.Complete = !slices.Contains(k.report.Broken, req.key.ID)
	}
	if !s.Operator {
		s.Faults = nil
	}
	return s
}

package core

import (
	"context"

	"callbackd"
	"callbackd/internal/store"
)

// VerifyAudit is part of [store.Audits].
func (s *Store) VerifyAudit(ctx context.Context, heads []callbackd.AuditHead, step store.AuditStep) (report *store.AuditReport, err error) {
	err = s.db.Snapshot(ctx, func(tx Tx) error {
		report = &store.AuditReport{}
		return s.verifyAudit(ctx, tx, heads, step, report)
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

// verifyAudit checks the audit log, and reports its chains and faults. It ends when step
// returns false.
func (s *Store) verifyAudit(ctx context.Context, tx Tx, heads []callbackd.AuditHead, step store.AuditStep, report *store.AuditReport) error {
	key, err := s.openAuditKey(tx)
	if err != nil {
		return err
	}
	var seals []callbackd.AuditHash
	err = tx.Query("SELECT "+chainColumns+" FROM audit_chains ORDER BY key_no", func(row Row) error {
		c, seal, err := scanChain(row)
		report.Chains, seals = append(report.Chains, c), append(seals, seal)
		return err
	})
	if err != nil {
		return err
	}
	// What is quick comes first, for a check that ends before the last entry.
	if err := missingAudit(tx, key != nil, heads, report); err != nil {
		return err
	}
	total := int64(0)
	for _, c := range report.Chains {
		total += c.Last - c.First + 1
	}
	goOn := func() bool { return step == nil || step(report.Entries, total) }
	for i, c := range report.Chains {
		if err := ctx.Err(); err != nil {
			return err
		}
		before := report.FaultN
		check := callbackd.NewAuditCheck(c, seals[i], key, heads, report.Fault)
		report.Partly, err = verifyChain(ctx, tx, c.Key, goOn, func(e *callbackd.AuditEntry) {
			check.Entry(e)
			report.Entries++
		})
		if err != nil {
			return err
		}
		if !report.Partly {
			check.End()
		}
		if report.FaultN > before {
			report.Broken = append(report.Broken, c.Key)
		}
		if report.Partly {
			return nil
		}
	}
	goOn() // to tell of the end
	return nil
}

// missingAudit reports chains that are missing: those that were counted or noted, and those
// of entries. begun tells whether there ever was an entry.
func missingAudit(tx Tx, begun bool, heads []callbackd.AuditHead, report *store.AuditReport) error {
	counted, others := int64(0), int64(0)
	known := map[callbackd.KeyID]bool{}
	for _, c := range report.Chains {
		known[c.Key] = true
		if c.Key == 0 {
			counted = c.Chains
		} else {
			others++
		}
	}
	if begun && !known[0] {
		report.Fault("the audit log of %s is missing", callbackd.AuditOwner(0))
	}
	if counted != others {
		report.Fault("%d API keys have begun an audit log, but %d have one", counted, others)
	}
	for _, h := range heads {
		if !known[h.Key] {
			report.Fault("the audit log of %s is missing; it had entry %d when its head was noted", callbackd.AuditOwner(h.Key), h.Number)
		}
	}
	return strayAudit(tx, known, report)
}

// verifyChain calls check for the entries of a chain, in order. It stops before a chunk when
// goOn returns false, and reports whether it did.
func verifyChain(ctx context.Context, tx Tx, key callbackd.KeyID, goOn func() bool, check func(*callbackd.AuditEntry)) (stopped bool, err error) {
	for after := int64(-maxAuditNumber); ; {
		if !goOn() {
			return true, nil
		}
		n := 0
		err := tx.Query("SELECT "+auditColumns+" FROM audit WHERE key_no = $1 AND n > $2 ORDER BY key_no, n LIMIT $3", func(row Row) error {
			e, err := scanAudit(row)
			if err == nil {
				n++
				after = e.Number
				check(e)
			}
			return err
		}, key, after, checkChunk)
		if err != nil || n < checkChunk {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// strayAudit reports entries that belong to no chain.
func strayAudit(tx Tx, known map[callbackd.KeyID]bool, report *store.AuditReport) error {
	for after := callbackd.KeyID(-maxAuditNumber); ; {
		found := false
		err := tx.Query("SELECT key_no FROM audit WHERE key_no > $1 ORDER BY key_no LIMIT 1", func(row Row) error {
			found = true
			return row.Scan(&after)
		}, after)
		if err != nil || !found {
			return err
		}
		if !known[after] {
			report.Broken = append(report.Broken, after)
			report.Fault("entries of the audit log of %s belong to no log: its start and its end are missing", callbackd.AuditOwner(after))
		}
	}
}

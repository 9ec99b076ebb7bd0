package view

import (
	"callbackd"
	"callbackd/wire"
)

// Erase returns an erasure with its receipt.
func Erase(e *callbackd.Erase) wire.Erase {
	c := &e.Progress.Counts
	out := wire.Erase{ID: e.ID.String(), By: string(e.By), Subject: e.Subject, DryRun: e.DryRun, State: "running", Phase: string(e.Phase), CreatedAt: e.CreatedAt.UTC(), EndedAt: timeOrNull(e.EndedAt),
		Counts: wire.EraseCounts{Sessions: c.Sessions, SessionRecords: c.Documents, Photos: c.Photos, Notes: c.Notes, Events: c.Events, Canceled: c.Canceled,
			Attempts: c.Attempts, Idempotency: c.Idempotency, LogMessages: c.Logs, Reasons: c.Reasons}}
	if !e.Running() {
		out.State, out.Receipt, out.ReceiptSHA256 = "done", e.Receipt, callbackd.ReceiptHash(e.Receipt)
	}
	return out
}

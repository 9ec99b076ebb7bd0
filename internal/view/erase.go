package view

import (
	"callbackd"
	"callbackd/wire"
)

// Erase returns an erasure with its receipt.
func Erase(e *callbackd.Erase) wire.Erase {
	out := wire.Erase{ID: e.ID.String(), By: string(e.By), Subject: e.Subject, DryRun: e.DryRun, State: "running", Phase: string(e.Phase), CreatedAt: e.CreatedAt.UTC(), EndedAt: timeOrNull(e.EndedAt),
		Counts: eraseCounts(e.Progress.Counts)}
	if e.Group != 0 {
		out.Group = e.Group.String()
	}
	if !e.Running() {
		out.State, out.Receipt, out.ReceiptSHA256 = "done", e.Receipt, callbackd.ReceiptHash(e.Receipt)
	}
	return out
}

func eraseCounts(c callbackd.EraseCounts) wire.EraseCounts {
	return wire.EraseCounts{Sessions: c.Sessions, SessionRecords: c.Documents, Photos: c.Photos, Notes: c.Notes, Events: c.Events, Canceled: c.Canceled,
		Attempts: c.Attempts, Callbacks: c.Callbacks, Idempotency: c.Idempotency, LogMessages: c.Logs, Reasons: c.Reasons}
}

// EraseGroup returns an erasure over all API keys. names has the text of each key.
func EraseGroup(g *callbackd.EraseGroup, names map[callbackd.KeyID]string) (out wire.EraseGroup, err error) {
	first := &g.Erases[0]
	out = wire.EraseGroup{ID: g.ID.String(), By: string(first.By), DryRun: first.DryRun, State: "running", Keys: g.Keys,
		CreatedAt: first.CreatedAt.UTC(), EndedAt: timeOrNull(g.EndedAt()), Counts: eraseCounts(g.Counts())}
	if !g.Running() {
		out.State = "done"
	}
	if out.Receipt, err = g.Receipt(); err == nil && out.Receipt != nil {
		out.ReceiptSHA256 = callbackd.ReceiptHash(out.Receipt)
	}
	for i := range g.Erases {
		one := Erase(&g.Erases[i])
		one.APIKey = names[g.Erases[i].Key]
		out.Data = append(out.Data, one)
	}
	return out, err
}

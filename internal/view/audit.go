package view

import (
	"encoding/json"

	"callbackd"
	"callbackd/wire"
)

// Audit returns an entry of the audit log. toKey says that the holder of an API key reads
// it: then the operator's names and addresses are left out, which are no customer's
// business.
func Audit(e *callbackd.AuditEntry, toKey bool) wire.AuditEntry {
	actor := AuditActor(e.Actor, toKey)
	return wire.AuditEntry{Number: e.Number, At: e.At, Action: string(e.Action), Subject: e.Subject, Callback: int64(e.Target),
		Actor:  wire.AuditActor{Kind: string(actor.Kind), Name: actor.Name, Address: actor.Address},
		Before: json.RawMessage(e.Before), After: json.RawMessage(e.After), Hash: e.Hash.String()}
}

// AuditActor returns an actor as it is shown to the operator or to the holder of an API
// key.
func AuditActor(a callbackd.Actor, toKey bool) callbackd.Actor {
	if toKey && a.Kind.IsOperator() {
		return callbackd.Actor{Kind: a.Kind}
	}
	return a
}

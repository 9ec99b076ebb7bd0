package view

import (
	"callbackd"
	"callbackd/wire"
)

// Incident returns an incident.
func Incident(i *callbackd.Incident) wire.Incident {
	return wire.Incident{
		ID: i.ID.String(), Event: string(i.Kind), State: incidentState(i), Text: i.Text(), OpenedAt: i.OpenedAt, GoneAt: timeOrNull(i.GoneAt), ClosedAt: timeOrNull(i.ClosedAt),
		Count: i.Count, About: about(i), AcknowledgedAt: timeOrNull(i.AckedAt), AcknowledgedBy: i.AckedBy, MutedUntil: timeOrNull(i.MutedUntil),
	}
}

// Notice returns the data of a notice of an incident. k is the API key that the incident is
// about; nil when it is about the whole server.
func Notice(i *callbackd.Incident, k *callbackd.Key) wire.Notice {
	n := wire.Notice{Incident: i.ID.String(), State: incidentState(i), Text: i.Text(), OpenedAt: i.OpenedAt, ClosedAt: timeOrNull(i.ClosedAt), Count: i.Count, About: about(i)}
	if k != nil {
		n.Account, n.KeyName = k.Account, k.Name
	}
	return n
}

func incidentState(i *callbackd.Incident) string {
	if i.Closed() {
		return "closed"
	}
	return "open"
}

func about(i *callbackd.Incident) wire.About {
	f := &i.Facts
	expect := ""
	if f.Expect != 0 {
		expect = callbackd.FormatDuration(f.Expect)
	}
	return wire.About{Pending: f.Pending, EndsAt: timeOrNull(f.EndsAt), Own: f.Own, Expect: expect, Free: f.Free, Node: f.Node,
		Callback: int64(i.Callback), Event: string(f.Event), Name: f.Name, Origin: f.Origin, Since: timeOrNull(f.Since), Status: f.Status,
		Fault: string(f.Fault), PauseReason: string(f.Pause), Deleted: f.Ended == callbackd.EndedDeleted}
}

package callbackd

import (
	"fmt"
	"strconv"
	"time"
)

// IncidentID is the id of an incident. Like an event's id it holds the time at which the
// incident was opened.
type IncidentID int64

// String returns the id as the API writes it: "inc_" and 13 digits of base32.
func (id IncidentID) String() string { return "inc_" + encode63(int64(id)) }

// ParseIncidentID reads what [IncidentID.String] writes.
func ParseIncidentID(s string) (IncidentID, bool) {
	if len(s) < 4 || s[:4] != "inc_" {
		return 0, false
	}
	n, ok := decode63(s[4:])
	return IncidentID(n), ok && n > 0
}

// Topic is what an incident is about. The kinds of one topic follow each other in one
// incident: a callback that fails is paused some days later.
type Topic string

// The topics.
const (
	TopicCallback   Topic = "callback"   // NoticeFailing, NoticePaused
	TopicDeliveries Topic = "deliveries" // NoticeExhausted

	TopicBacklog     Topic = "backlog"
	TopicCertificate Topic = "certificate"
	TopicSilence     Topic = "silence"
	TopicDisk        Topic = "disk"
	TopicNode        Topic = "node"
	TopicArchive     Topic = "archive"
)

// Topics lists the topics.
var Topics = []Topic{TopicCallback, TopicDeliveries, TopicBacklog, TopicCertificate, TopicSilence, TopicDisk, TopicNode, TopicArchive}

// topicOf has the topic of each kind of incident.
var topicOf = map[EventType]Topic{
	NoticeFailing:   TopicCallback,
	NoticePaused:    TopicCallback,
	NoticeExhausted: TopicDeliveries,

	NoticeBacklog:     TopicBacklog,
	NoticeCertificate: TopicCertificate,
	NoticeSilence:     TopicSilence,
	NoticeDisk:        TopicDisk,
	NoticeNodeLost:    TopicNode,
	NoticeArchive:     TopicArchive,
}

// IncidentSubject is what has at most one open incident.
type IncidentSubject struct {
	Key   KeyID // 0: the whole server
	Topic Topic
	Name  string // of the callback or of something else, unique within key and topic
}

// Condition is something that is wrong with a subject.
type Condition struct {
	Kind     EventType
	Key      KeyID
	Name     string // see [IncidentSubject]
	Callback CallbackID
	N        int64 // how often it happened since the last look
	Facts    IncidentFacts
}

// IncidentFacts is what is known about a condition. It is stored as JSON.
type IncidentFacts struct {
	Since  time.Time   `json:",omitzero"` // when the condition began
	Event  EventType   `json:",omitempty"`
	Name   string      `json:",omitempty"` // of the callback
	Origin string      `json:",omitempty"` // of the callback's URL
	Fault  Fault       `json:",omitempty"` // of the last attempt that failed
	Status int         `json:",omitempty"` // of the last attempt that failed
	Pause  PauseReason `json:",omitempty"`
	Ended  EndReason   `json:",omitempty"`

	Pending int64         `json:",omitempty"`
	EndsAt  time.Time     `json:",omitzero"`  // when the certificate expires
	Own     bool          `json:",omitempty"` // it is the client certificate
	Expect  time.Duration `json:",omitempty"` // see [Policy]
	Free    int64         `json:",omitempty"` // bytes of the volume
	Node    string        `json:",omitempty"`
	NodeID  NodeID        `json:",omitempty"` // see [NodesOfName], when the node was lost
	Nodes   int           `json:",omitempty"` // the same
	Error   string        `json:",omitempty"` // why the archive cannot be written
}

// Subject returns what the condition is about.
func (c *Condition) Subject() IncidentSubject {
	return IncidentSubject{c.Key, topicOf[c.Kind], c.Name}
}

// CallbackCondition returns what is wrong with a callback that fails or is paused; nil when
// nothing is that people do not know: a person who pauses a callback knows of it.
func CallbackCondition(cb *Callback, failingSince time.Time, p Pause) *Condition {
	if cb.Deleted() {
		return nil
	}
	c := conditionOf(cb, NoticeFailing, failingSince)
	switch {
	case p.Reason != NotPaused && p.Reason != PausedByUser:
		c.Kind, c.Facts.Pause, c.Facts.Since = NoticePaused, p.Reason, p.At
	case !failingSince.IsZero():
		c.Kind = NoticeFailing
	default:
		return nil
	}
	return c
}

// conditionOf returns a condition of a callback.
func conditionOf(cb *Callback, kind EventType, since time.Time) *Condition {
	return &Condition{Kind: kind, Key: cb.Key, Name: strconv.FormatInt(int64(cb.ID), 10), Callback: cb.ID,
		Facts: IncidentFacts{Since: since, Event: cb.Event, Name: cb.Name, Origin: Origin(cb.URL)}}
}

// BacklogCondition returns the condition of a callback with a delivery that has been due for
// longer than old; nil when there is none. What is due of a paused callback is meant to wait.
func BacklogCondition(cb *Callback, b CallbackBacklog, old time.Duration, now time.Time) *Condition {
	if cb.Deleted() || cb.Paused() || b.OldestDue.IsZero() || now.Sub(b.OldestDue) < old {
		return nil
	}
	c := conditionOf(cb, NoticeBacklog, b.OldestDue)
	c.Facts.Pending = b.Pending
	return c
}

// CertificateCondition returns the condition of a callback whose certificate ends soon; nil
// when it does not. own says that it is the client certificate of its policy. One that ended
// long ago is that of a receiver which gets nothing any more.
func CertificateCondition(cb *Callback, ends time.Time, own bool, now time.Time) *Condition {
	left := ends.Sub(now)
	if cb.Deleted() || ends.IsZero() || left > CertificateEndsWithin || left < -CertificateEndsWithin {
		return nil
	}
	c := conditionOf(cb, NoticeCertificate, time.Time{})
	if c.Facts.EndsAt, c.Facts.Own = ends, own; own {
		c.Name += " own"
	}
	return c
}

// SilenceCondition returns the condition of a callback that expects events and got none for
// too long; nil when it did. last is when the last one was accepted, and zero when none is
// stored. What happened before the policy was set does not count.
func SilenceCondition(cb *Callback, last, now time.Time) *Condition {
	since := later(last, cb.UpdatedAt)
	if cb.Deleted() || cb.Policy.Expect == 0 || now.Sub(since) < cb.Policy.Expect {
		return nil
	}
	c := conditionOf(cb, NoticeSilence, since)
	c.Facts.Expect = cb.Policy.Expect
	return c
}

// DiskCondition returns the condition of a volume with fewer bytes free than low.
func DiskCondition(free, low int64) *Condition {
	if free >= low {
		return nil
	}
	return &Condition{Kind: NoticeDisk, Facts: IncidentFacts{Free: free}}
}

// ArchiveCondition returns the condition of an archive that could not be written since a time;
// nil when err is nil.
func ArchiveCondition(since time.Time, err error) *Condition {
	if err == nil {
		return nil
	}
	return &Condition{Kind: NoticeArchive, Facts: IncidentFacts{Since: since, Error: clipStored(err.Error(), MaxArchiveError)}}
}

// NodesOfName says which nodes have one name: those on one host share its name.
type NodesOfName struct {
	Newest NodeID // the greatest ID; a process that joins again gets a greater one
	N      int    // how many there are
}

// NodeLostCondition returns the condition of a node whose lease expired. before has the nodes
// of its name that were there until then, with itself.
func NodeLostCondition(name string, before NodesOfName) *Condition {
	name = clipStored(name, MaxActorText)
	return &Condition{Kind: NoticeNodeLost, Name: name, Facts: IncidentFacts{Node: name, NodeID: before.Newest, Nodes: before.N}}
}

// NodeIsBack reports whether a node with the name of the lost one has joined since, and there
// are as many of that name as before. So neither the lost node itself, in a list that is a
// little old, nor another node of its host counts, not even one that was started again.
func (i *Incident) NodeIsBack(alive map[string]NodesOfName) bool {
	now := alive[i.Name]
	return i.Topic == TopicNode && now.Newest > i.Facts.NodeID && now.N >= i.Facts.Nodes
}

// passes reports whether a condition is over at once each time.
func (c *Condition) passes() bool { return c.Kind == NoticeExhausted || c.Kind == NoticeNodeLost }

// Incident is a time in which something was wrong with a subject. It is opened when a
// condition is seen that lasts, and closed when the condition has been gone for a while. A
// condition that comes back before that belongs to the same incident.
type Incident struct {
	ID IncidentID
	IncidentSubject
	Kind     EventType // the last one
	Callback CallbackID
	OpenedAt time.Time
	GoneAt   time.Time // since when the condition has been gone; zero while it lasts
	ClosedAt time.Time // zero while it is open
	Count    int64     // how often the condition came, or happened
	Flaps    int       // how often it came back soon; see settle
	Facts    IncidentFacts

	AckedAt    time.Time // when a person acknowledged it; zero when nobody did
	AckedBy    string
	MutedUntil time.Time // no notices before it

	// Stage counts what there is to tell: 1 is the opening, each other kind and the end
	// add 1.
	Stage int
	// Told has the last stage of which a channel was told. It is negative when nothing was
	// sent: see [Incident.Notice].
	Told map[Channel]int
	Mail Mailing // of the stage that ToMail was not told of yet
}

// The rules of incidents.
const (
	// FailingAfter is how long a callback fails before that is an incident.
	FailingAfter = time.Minute
	// SettleFirst is how long a condition must be gone before its incident is closed. It
	// doubles each time that the condition comes back, up to SettleMax, so that what comes
	// and goes is one incident and not a hundred.
	SettleFirst = time.Minute
	SettleMax   = time.Hour
	// SettleExhausted is SettleFirst for deliveries that were given up, which is over at
	// once every time.
	SettleExhausted = 15 * time.Minute
	// NodeLostFor is how long the loss of a node is an incident, unless a node of the same
	// name is back sooner.
	NodeLostFor = time.Hour
	// DefaultBacklogOld is since when a delivery has been due when its callback's backlog is
	// old, unless the operator says otherwise.
	DefaultBacklogOld = 15 * time.Minute
	// DefaultDiskLow is how many bytes are free when the disk is low.
	DefaultDiskLow = 1 << 30
	// CertificateEndsWithin is how long before its end a certificate is ending.
	CertificateEndsWithin = 14 * 24 * time.Hour
	// MinExpect and MaxExpect are the limits of [Policy.Expect].
	MinExpect = time.Minute
	MaxExpect = 30 * 24 * time.Hour
	// MaxMute is the longest time for which an incident can be muted.
	MaxMute = 30 * 24 * time.Hour
	// MaxArchiveError is how many bytes are stored of why the archive cannot be written.
	MaxArchiveError = 500
	// MaxClosedIncidents is how many closed incidents of an API key are stored.
	MaxClosedIncidents = 1000
)

// Opens reports whether a condition at now is an incident.
func (c *Condition) Opens(now time.Time) bool {
	return c.Kind != NoticeFailing || now.Sub(c.Facts.Since) >= FailingAfter
}

// OpenIncident returns the incident that a condition opens at now. last is the one of the
// same subject before it, or nil: when that ended less than SettleMax ago, the new one
// settles as slowly, and stays muted.
func OpenIncident(c *Condition, last *Incident, now time.Time) Incident {
	i := Incident{
		IncidentSubject: c.Subject(), Kind: c.Kind, Callback: c.Callback, OpenedAt: now, Facts: c.Facts,
		Count: max(c.N, 1), Stage: 1, Told: map[Channel]int{},
	}
	if last != nil && now.Sub(last.ClosedAt) < SettleMax {
		i.Flaps = last.Flaps + 1
	}
	if last != nil && last.Muted(now) {
		i.MutedUntil = last.MutedUntil
	}
	if c.passes() {
		i.GoneAt = now
	}
	return i
}

// See changes an open incident at now, when its condition is there. It reports whether
// anything changed.
func (i *Incident) See(c *Condition, now time.Time) (changed bool) {
	if i.Closed() {
		return false
	}
	if c.passes() {
		nodes := max(i.Facts.Nodes, c.Facts.Nodes) // of two that are lost, both must come back
		i.Count, i.GoneAt, i.Facts = i.Count+max(c.N, 1), now, c.Facts
		i.Facts.Nodes = nodes
		return true
	}
	if !i.GoneAt.IsZero() {
		i.GoneAt, i.Count, i.Flaps, i.Facts = time.Time{}, i.Count+1, i.Flaps+1, c.Facts
		changed = true
	}
	if i.Kind != c.Kind && c.Opens(now) {
		i.Kind, i.Facts, i.Stage = c.Kind, c.Facts, i.Stage+1
		changed = true
	}
	return changed
}

// Miss changes an open incident at now, when its condition is not there. ended says why,
// when the subject itself is gone: then the incident is closed at once. Miss reports whether
// anything changed.
func (i *Incident) Miss(now time.Time, ended EndReason) (changed bool) {
	switch {
	case i.Closed():
		return false
	case ended == EndedWell && i.GoneAt.IsZero():
		i.GoneAt = now
		return true
	case ended == EndedWell && now.Sub(i.GoneAt) < i.settle():
		return false
	}
	now = later(now, i.OpenedAt) // the clock may have been set back
	if i.GoneAt.IsZero() {
		i.GoneAt = now
	}
	i.ClosedAt, i.Facts.Ended, i.Stage = now, ended, i.Stage+1
	return true
}

// settle returns how long the condition must be gone before the incident is closed.
func (i *Incident) settle() time.Duration {
	wait := SettleFirst
	switch i.Topic {
	case TopicDeliveries:
		wait = SettleExhausted
	case TopicNode:
		return NodeLostFor
	}
	for range min(i.Flaps, 10) {
		wait *= 2
	}
	return min(wait, SettleMax)
}

// Closed reports whether the incident is over.
func (i *Incident) Closed() bool { return !i.ClosedAt.IsZero() }

// Muted reports whether a person wants no notices of the incident at now.
func (i *Incident) Muted(now time.Time) bool { return now.Before(i.MutedUntil) }

// Acknowledge notes that a person knows of the incident. The first one counts.
func (i *Incident) Acknowledge(by string, at time.Time) {
	if i.AckedAt.IsZero() {
		i.AckedAt, i.AckedBy = at.UTC().Truncate(time.Millisecond), clipStored(by, MaxActorText)
	}
}

// Mute has no notices sent before a time. A time that is not after at ends that.
func (i *Incident) Mute(until, at time.Time) {
	if i.MutedUntil = until.UTC().Truncate(time.Millisecond); !until.After(at) {
		i.MutedUntil = time.Time{}
	}
}

// Faults returns what cannot be right about a stored incident, whatever happened.
func (i *Incident) Faults() (faults []string) {
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Sprintf("incident %s ", i.ID)+fmt.Sprintf(format, args...))
		}
	}
	fault(topicOf[i.Kind] != i.Topic, "has the kind %q, which is none of its topic %q", i.Kind, i.Topic)
	fault(i.Closed() && i.ClosedAt.Before(i.OpenedAt), "was closed before it was opened")
	fault(i.Count < 1, "has the count %d; it must be 1 or more", i.Count)
	fault(i.Stage < 1, "has the stage %d; it must be 1 or more", i.Stage)
	fault(i.Flaps < 0, "came back %d times", i.Flaps)
	fault(i.Mail.Failed < 0, "has %d mails that failed", i.Mail.Failed)
	for _, ch := range Channels {
		told := i.Told[ch]
		fault(max(told, -told) > i.Stage, "has %d stages, and the channel %s was told of stage %d", i.Stage, ch, max(told, -told))
	}
	fault(i.AckedAt.IsZero() && i.AckedBy != "", "was acknowledged by somebody, but at no time")
	return faults
}

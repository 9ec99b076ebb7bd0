package callbackd

import (
	"fmt"
	"slices"
	"time"
)

// The events about callbackd itself: notices. callbackd alone fires them, when an
// [Incident] begins, changes or ends.
const (
	NoticeFailing   EventType = "CALLBACK:FAILING"
	NoticePaused    EventType = "CALLBACK:PAUSED"
	NoticeRecovered EventType = "CALLBACK:RECOVERED" // ends both of the above
	NoticeExhausted EventType = "DELIVERY:FAILED"
)

// SessionEvents lists the types of events of sessions, which a platform publishes: PAVE's
// first, then our own.
var SessionEvents = []EventType{SMSProcess, StageChange, StatusChange, Complete, NoteInsert, SMSRequested}

// NoticeTypes lists the types of notices.
var NoticeTypes = []EventType{NoticeFailing, NoticePaused, NoticeRecovered, NoticeExhausted}

// IsNotice reports whether t is the type of a notice.
func (t EventType) IsNotice() bool { return slices.Contains(NoticeTypes, t) }

// Channel is a way on which notices go.
type Channel string

// The channels.
const (
	ToKey      Channel = "key"      // to the callbacks of the API key that the incident is about
	ToOperator Channel = "operator" // to the callbacks of the operator's API key
	ToMail     Channel = "mail"     // to the operator's mailboxes
)

// Channels lists the channels.
var Channels = []Channel{ToKey, ToOperator, ToMail}

// Notice returns what is to be told of an incident on a channel at now. told is what
// [Incident.Told] of the channel becomes; it is what it is already when there is nothing
// to tell. typ is the type of the notice, and empty when nothing is sent: the incident is
// muted, it ended before anybody was told of it, or it is about a callback that itself is
// for notices and would have to be told by callbacks, so that no notice leads to another.
func (i *Incident) Notice(ch Channel, now time.Time) (typ EventType, told int) {
	told = i.Told[ch]
	if max(told, -told) >= i.Stage {
		return "", told
	}
	looping := ch != ToMail && i.Facts.Event.IsNotice()
	silent := looping || i.Muted(now) || i.Closed() && told <= 0 || ch == ToKey && i.Key == 0
	switch {
	case silent:
		return "", -i.Stage
	case i.Closed():
		return i.Topic.endType(i.Kind), i.Stage
	}
	return i.Kind, i.Stage
}

// endType returns the type of the notice that tells the end of an incident.
func (t Topic) endType(kind EventType) EventType {
	if t == TopicCallback {
		return NoticeRecovered
	}
	return kind
}

// Session returns the session of the notices about an incident's subject. They share it, so
// that a callback gets them in order.
func (i *Incident) Session() string {
	if i.Callback != 0 {
		return fmt.Sprintf("callbackd-callback-%d", i.Callback)
	}
	return "callbackd-" + string(i.Topic)
}

// Text says in one sentence what an incident is about.
func (i *Incident) Text() string {
	f := &i.Facts
	who := fmt.Sprintf("The callback %s for %s to %s", f.Name, f.Event, f.Origin)
	switch {
	case i.Closed() && i.Topic == TopicCallback:
		return who + " has recovered: " + f.Ended.text() + "."
	case i.Closed():
		return "No delivery of t" + who[1:] + " was given up for " + FormatDuration(i.settle()) + "."
	case i.Kind == NoticePaused:
		return who + " is paused, because " + f.Pause.because() + ". Its deliveries wait until a person resumes it."
	case i.Kind == NoticeExhausted:
		return fmt.Sprintf("Deliveries to t%s were given up: %d so far, after the last attempt of their retry schedule.", who[1:], i.Count)
	}
	return who + " has been failing since " + f.Since.UTC().Format("2006-01-02 15:04:05 MST") + f.lastFailure() + "."
}

// because says why callbackd paused a callback.
func (r PauseReason) because() string {
	switch r {
	case PausedGone:
		return "the receiver answered 410 Gone"
	case PausedByReceiver:
		return "the receiver asked for it"
	}
	return "no attempt succeeded for " + FormatDuration(AutoPauseAfter)
}

// lastFailure says how the last attempt ended, when that is known.
func (f *IncidentFacts) lastFailure() string {
	switch {
	case f.Status != 0:
		return fmt.Sprintf("; the last answer had the status %d", f.Status)
	case f.Fault != NoFault:
		return "; the last attempt ended with the fault " + string(f.Fault)
	}
	return ""
}

// EndReason says why an incident ended.
type EndReason string

// The reasons for an end.
const (
	EndedWell    EndReason = ""        // the condition is gone: an attempt succeeded, or a person resumed or changed the callback
	EndedDeleted EndReason = "deleted" // the callback was deleted, or its API key revoked
)

func (r EndReason) text() string {
	if r == EndedDeleted {
		return "it was deleted"
	}
	return "an attempt succeeded, or a person resumed or changed it"
}

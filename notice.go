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

	NoticeBacklog     EventType = "BACKLOG:OLD"
	NoticeCertificate EventType = "CERTIFICATE:ENDING"
	NoticeSilence     EventType = "SILENCE"
	NoticeDisk        EventType = "DISK:LOW"
	NoticeNodeLost    EventType = "NODE:LOST"
	NoticeArchive     EventType = "ARCHIVE:FAILING"
)

// SessionEvents lists the types of events of sessions, which a platform publishes: PAVE's
// first, then our own.
var SessionEvents = []EventType{SMSProcess, StageChange, StatusChange, Complete, NoteInsert, SMSRequested}

// NoticeTypes lists the types of notices.
var NoticeTypes = []EventType{NoticeFailing, NoticePaused, NoticeRecovered, NoticeExhausted, NoticeBacklog, NoticeCertificate, NoticeSilence, NoticeDisk, NoticeNodeLost, NoticeArchive}

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
// A mail also tells of an incident that ended while the mail could not be sent.
func (i *Incident) Notice(ch Channel, now time.Time) (typ EventType, told int) {
	told = i.Told[ch]
	if max(told, -told) >= i.Stage {
		return "", told
	}
	// A SILENCE of a whole API key names the callback that asked for it, which is for notices.
	looping := ch != ToMail && i.Facts.Event.IsNotice() && i.Topic != TopicSilence
	late := i.Closed() && (told < 0 || told == 0 && ch != ToMail)
	silent := looping || i.Muted(now) || late || ch == ToKey && i.Key == 0
	switch {
	case silent:
		return "", -i.Stage
	case i.Closed():
		return i.Topic.EndType(i.Kind), i.Stage
	}
	return i.Kind, i.Stage
}

// Mailing says how far a mail is that was not sent yet.
type Mailing struct {
	Failed int       // tries that failed
	At     time.Time // before this time nothing is tried
}

// The rules of mails.
const (
	// MailRetryFirst is the wait after the first try that failed. It doubles with each
	// further one, up to MailRetryMax. A mail is tried until its incident is removed.
	MailRetryFirst = 30 * time.Second
	MailRetryMax   = 30 * time.Minute
	// MailClaim is for how long a node that sends a mail keeps others from sending it. A try
	// takes less than that.
	MailClaim = 2 * time.Minute
)

// Due reports whether a try may be made at now. A time that is too far away was written
// before the clock was set back.
func (m *Mailing) Due(now time.Time) bool {
	return !now.Before(m.At) || m.At.Sub(now) > MailRetryMax
}

// Claim keeps other nodes from sending the mail while this one does.
func (m *Mailing) Claim(now time.Time) { m.At = now.Add(MailClaim) }

// Fail notes a try that failed at now.
func (m *Mailing) Fail(now time.Time) {
	wait := MailRetryFirst
	for range min(m.Failed, 10) {
		wait *= 2
	}
	m.Failed, m.At = m.Failed+1, now.Add(min(wait, MailRetryMax))
}

// EndType returns the type of the notice that tells the end of an incident.
func (t Topic) EndType(kind EventType) EventType {
	if t == TopicCallback {
		return NoticeRecovered
	}
	return kind
}

// Session returns the session of the notices about an incident's subject. They share it, so
// that a callback gets them in order.
func (i *Incident) Session() string {
	if i.Callback != 0 && i.Topic == TopicCallback {
		return fmt.Sprintf("callbackd-callback-%d", i.Callback)
	}
	if i.Callback != 0 {
		return fmt.Sprintf("callbackd-%s-%d", i.Topic, i.Callback)
	}
	return "callbackd-" + string(i.Topic)
}

// Text says in one sentence what an incident is about.
func (i *Incident) Text() string {
	if i.Closed() {
		return i.endText()
	}
	f := &i.Facts
	who := f.callback()
	switch i.Kind {
	case NoticePaused:
		return "T" + who + " is paused, because " + f.Pause.because() + ". Its deliveries wait until a person resumes it."
	case NoticeExhausted:
		return fmt.Sprintf("Deliveries to t%s were given up: %d so far, after the last attempt of their retry schedule.", who, i.Count)
	case NoticeBacklog:
		return fmt.Sprintf("Deliveries to t%s wait: %d are pending, and the oldest has been due since %s.", who, f.Pending, noticeTime(f.Since))
	case NoticeCertificate:
		if !f.EndsAt.After(i.OpenedAt) {
			return f.certificate() + " expired at " + noticeTime(f.EndsAt) + "."
		}
		return f.certificate() + " expires at " + noticeTime(f.EndsAt) + "."
	case NoticeSilence:
		return "Nothing was accepted for " + f.expecting(who) + " since " + noticeTime(f.Since) + ", which is longer than " + FormatDuration(f.Expect) + "."
	case NoticeDisk:
		return fmt.Sprintf("The volume of the data directory has %d MiB free. Make room, or start with a shorter --retention.", f.Free>>20)
	case NoticeNodeLost:
		return "The lease of the node " + f.Node + " expired. The other nodes took over its work."
	case NoticeArchive:
		return "The archive could not be written since " + noticeTime(f.Since) + ". Retention waits: nothing is removed until the archive can be written again. The error: " + f.Error + "."
	}
	return "T" + who + " has been failing since " + noticeTime(f.Since) + f.lastFailure() + "."
}

// endText is Text of an incident that is closed.
func (i *Incident) endText() string {
	f := &i.Facts
	who := f.callback()
	switch {
	case f.Ended == EndedDeleted:
		return "T" + who + " was deleted."
	case i.Topic == TopicCallback:
		return "T" + who + " has recovered: an attempt succeeded, or a person resumed or changed it."
	case i.Topic == TopicDeliveries:
		return "No delivery to t" + who + " was given up for " + FormatDuration(i.settle()) + "."
	case i.Topic == TopicBacklog:
		return "No delivery to t" + who + " waits for too long any more."
	case i.Topic == TopicCertificate && i.GoneAt.Sub(f.EndsAt) > CertificateEndsWithin:
		return f.certificate() + " expired at " + noticeTime(f.EndsAt) + ", and no other one was seen since. This is not told again."
	case i.Topic == TopicCertificate:
		return f.certificate() + " was replaced, or is not used any more."
	case i.Topic == TopicSilence:
		return "Something was accepted for " + f.expecting(who) + ", or nothing is expected any more."
	case i.Topic == TopicDisk:
		return "The volume of the data directory has enough space again."
	case i.Topic == TopicArchive:
		return "The archive can be written again, and retention goes on."
	}
	return "The node " + f.Node + " is back, or was lost an hour ago."
}

// callback names a callback in a sentence; it begins with "he".
func (f *IncidentFacts) callback() string {
	return fmt.Sprintf("he callback %s for %s to %s", f.Name, f.Event, f.Origin)
}

// certificate names a certificate at the beginning of a sentence.
func (f *IncidentFacts) certificate() string {
	if f.Own {
		return "The client certificate of t" + f.callback()
	}
	return "The certificate of the receiver of t" + f.callback()
}

// expecting names what expects events.
func (f *IncidentFacts) expecting(who string) string {
	if f.Event == NoticeSilence {
		return "the API key"
	}
	return "t" + who
}

func noticeTime(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 MST") }

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
	EndedBack    EndReason = "back"    // a node of that name is back
)

package callbackd_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"callbackd"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func failing(since time.Time) *callbackd.Condition {
	cb := &callbackd.Callback{ID: 7, Key: 1, Event: callbackd.Complete, Name: "default", URL: "https://user-chosen.example/secret-path"}
	return callbackd.CallbackCondition(cb, since, callbackd.Pause{})
}

func TestWhatIsWrongWithACallback(t *testing.T) {
	for name, c := range map[string]struct {
		failing time.Time
		pause   callbackd.PauseReason
		deleted time.Time
		want    callbackd.EventType // empty: nothing
	}{
		"well":                       {},
		"fails":                      {failing: noon, want: callbackd.NoticeFailing},
		"paused by callbackd":        {failing: noon, pause: callbackd.PausedNoAnswer, want: callbackd.NoticePaused},
		"paused after 410":           {pause: callbackd.PausedGone, want: callbackd.NoticePaused},
		"paused by its receiver":     {pause: callbackd.PausedByReceiver, want: callbackd.NoticePaused},
		"paused by a person":         {pause: callbackd.PausedByUser},
		"fails, paused by a person":  {failing: noon, pause: callbackd.PausedByUser, want: callbackd.NoticeFailing},
		"deleted, although it fails": {failing: noon, deleted: noon},
	} {
		t.Run(name, func(t *testing.T) {
			cb := &callbackd.Callback{ID: 7, Event: callbackd.Complete, DeletedAt: c.deleted}
			var got callbackd.EventType
			if condition := callbackd.CallbackCondition(cb, c.failing, callbackd.Pause{Reason: c.pause, At: noon}); condition != nil {
				got = condition.Kind
			}
			if got != c.want {
				t.Errorf("the condition is %q, want %q", got, c.want)
			}
		})
	}
}

func TestACallbackThatFailsForAMinuteIsAnIncident(t *testing.T) {
	for after, want := range map[time.Duration]bool{0: false, callbackd.FailingAfter - 1: false, callbackd.FailingAfter: true} {
		if got := failing(noon).Opens(noon.Add(after)); got != want {
			t.Errorf("after %s an incident is opened: %v, want %v", after, got, want)
		}
	}
}

// play lets an incident see its condition, or miss it, at steps of a second, and returns how
// many notices went to the key.
func play(i *callbackd.Incident, from time.Time, there func(second int) bool, seconds int) (notices []callbackd.EventType, end time.Time) {
	for n := range seconds {
		end = from.Add(time.Duration(n) * time.Second)
		if there(n) {
			i.See(failing(from), end)
		} else {
			i.Miss(end, callbackd.EndedWell)
		}
		typ, told := i.Notice(callbackd.ToKey, end)
		if i.Told[callbackd.ToKey] = told; typ != "" {
			notices = append(notices, typ)
		}
	}
	return notices, end
}

func TestConditionsOfTheOtherKinds(t *testing.T) {
	cb := &callbackd.Callback{ID: 7, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", UpdatedAt: noon, Policy: callbackd.Policy{Expect: time.Hour}}
	paused, deleted, calm := *cb, *cb, *cb
	paused.Pause.Reason, deleted.DeletedAt, calm.Policy.Expect = callbackd.PausedByUser, noon, 0
	due := func(cb *callbackd.Callback, after time.Duration) *callbackd.Condition {
		return callbackd.BacklogCondition(cb, callbackd.CallbackBacklog{ID: 7, Pending: 3, OldestDue: noon}, 15*time.Minute, noon.Add(after))
	}
	ends := func(cb *callbackd.Callback, after time.Duration) *callbackd.Condition {
		return callbackd.CertificateCondition(cb, noon.Add(after), false, noon)
	}
	silent := func(cb *callbackd.Callback, last, now time.Duration) *callbackd.Condition {
		return callbackd.SilenceCondition(cb, noon.Add(last), noon.Add(now))
	}
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		got  *callbackd.Condition
		want bool
	}{
		"a backlog that is not old":             {due(cb, 15*time.Minute-1), false},
		"an old backlog":                        {due(cb, 15*time.Minute), true},
		"an old backlog of a paused callback":   {due(&paused, day), false},
		"an old backlog of a deleted callback":  {due(&deleted, day), false},
		"nothing is due":                        {callbackd.BacklogCondition(cb, callbackd.CallbackBacklog{ID: 7, Pending: 3}, time.Minute, noon), false},
		"a certificate for 15 days":             {ends(cb, 15*day), false},
		"a certificate for 14 days":             {ends(cb, 14*day), true},
		"a certificate that ended yesterday":    {ends(cb, -day), true},
		"a certificate that ended 15 days ago":  {ends(cb, -15*day), false},
		"no certificate":                        {callbackd.CertificateCondition(cb, time.Time{}, false, noon), false},
		"silence for less than an hour":         {silent(cb, time.Hour, 2*time.Hour-1), false},
		"silence for an hour":                   {silent(cb, time.Hour, 2*time.Hour), true},
		"silence since the policy was set":      {silent(cb, -day, time.Hour), true},
		"silence from before it was set":        {silent(cb, -day, time.Hour-1), false},
		"silence where nothing is expected":     {silent(&calm, 0, day), false},
		"silence of a deleted callback":         {silent(&deleted, 0, day), false},
		"a disk with as much free as is needed": {callbackd.DiskCondition(5, 5), false},
		"a disk with less":                      {callbackd.DiskCondition(4, 5), true},
	} {
		if got := c.got != nil; got != c.want {
			t.Errorf("%s is a condition: %v, want %v", name, got, c.want)
		}
	}
}

// A certificate that ended and was never replaced is not said to have been replaced, when it
// is not told any more because of its age.
func TestACertificateThatStaysExpiredWasNotReplaced(t *testing.T) {
	cb := &callbackd.Callback{ID: 7, Event: callbackd.Complete, Name: "default", URL: "https://a.example/x"}
	i := callbackd.OpenIncident(callbackd.CertificateCondition(cb, noon, false, noon.Add(-time.Hour)), nil, noon.Add(-time.Hour))
	gone := noon.Add(callbackd.CertificateEndsWithin + time.Second)
	if callbackd.CertificateCondition(cb, noon, false, gone) != nil {
		t.Fatal("the condition is there after two weeks")
	}
	for now := gone; !i.Closed(); now = now.Add(time.Minute) {
		i.Miss(now, callbackd.EndedWell)
	}
	const want = "The certificate of the receiver of the callback default for SESSION:COMPLETE to https://a.example expired at 2026-03-01 12:00:00 UTC, and no other one was seen since. This is not told again."
	if got := i.Text(); got != want {
		t.Errorf("the text of the end is %q, want %q", got, want)
	}
}

func TestTheTextsOfAllKinds(t *testing.T) {
	cb := &callbackd.Callback{ID: 7, Event: callbackd.Complete, Name: "default", URL: "https://a.example/x", UpdatedAt: noon, Policy: callbackd.Policy{Expect: time.Hour}}
	key := *cb
	key.Event = callbackd.NoticeSilence
	for _, c := range []struct {
		condition *callbackd.Condition
		open, end string
	}{
		{callbackd.BacklogCondition(cb, callbackd.CallbackBacklog{Pending: 3, OldestDue: noon}, time.Minute, noon.Add(time.Hour)),
			"Deliveries to the callback default for SESSION:COMPLETE to https://a.example wait: 3 are pending, and the oldest has been due since 2026-03-01 12:00:00 UTC.",
			"No delivery to the callback default for SESSION:COMPLETE to https://a.example waits for too long any more."},
		{callbackd.CertificateCondition(cb, noon.Add(time.Hour), true, noon),
			"The client certificate of the callback default for SESSION:COMPLETE to https://a.example expires at 2026-03-01 13:00:00 UTC.",
			"The client certificate of the callback default for SESSION:COMPLETE to https://a.example was replaced, or is not used any more."},
		{callbackd.CertificateCondition(cb, noon.Add(-time.Hour), false, noon),
			"The certificate of the receiver of the callback default for SESSION:COMPLETE to https://a.example expired at 2026-03-01 11:00:00 UTC.",
			"The certificate of the receiver of the callback default for SESSION:COMPLETE to https://a.example was replaced, or is not used any more."},
		{callbackd.SilenceCondition(cb, noon, noon.Add(time.Hour)),
			"Nothing was accepted for the callback default for SESSION:COMPLETE to https://a.example since 2026-03-01 12:00:00 UTC, which is longer than 1h.",
			"Something was accepted for the callback default for SESSION:COMPLETE to https://a.example, or nothing is expected any more."},
		{callbackd.SilenceCondition(&key, noon, noon.Add(time.Hour)),
			"Nothing was accepted for the API key since 2026-03-01 12:00:00 UTC, which is longer than 1h.",
			"Something was accepted for the API key, or nothing is expected any more."},
		{callbackd.DiskCondition(5<<20, 1<<30),
			"The volume of the data directory has 5 MiB free. Make room, or start with a shorter --retention.",
			"The volume of the data directory has enough space again."},
		{callbackd.NodeLostCondition("a", callbackd.NodesOfName{Newest: 1, N: 1}),
			"The lease of the node a expired. The other nodes took over its work.",
			"The node a is back, or was lost an hour ago."},
		{callbackd.ArchiveCondition(noon, errors.New("write a: no space left on device")),
			"The archive could not be written since 2026-03-01 12:00:00 UTC. Retention waits: nothing is removed until the archive can be written again. The error: write a: no space left on device.",
			"The archive can be written again, and retention goes on."},
	} {
		i := callbackd.OpenIncident(c.condition, nil, noon)
		if got := i.Text(); got != c.open {
			t.Errorf("the text is %q, want %q", got, c.open)
		}
		i.GoneAt = noon
		i.Miss(noon.Add(callbackd.NodeLostFor), callbackd.EndedWell)
		if got := i.Text(); got != c.end {
			t.Errorf("the text of the end is %q, want %q", got, c.end)
		}
		if typ, _ := i.Notice(callbackd.ToOperator, noon); typ != "" {
			t.Errorf("%s is told although it ended before", typ)
		}
		if want := i.Kind; i.Topic.EndType(i.Kind) != want {
			t.Errorf("the end of %s is told by another type", want)
		}
	}
}

// A node is back when one of its name joined after it and its host has as many as before: not
// because an older list still has it, and not because another process of that host runs, or
// was started again.
func TestANodeIsBackWhenOneOfItsNameHasJoined(t *testing.T) {
	of := func(newest callbackd.NodeID, n int) callbackd.NodesOfName {
		return callbackd.NodesOfName{Newest: newest, N: n}
	}
	for _, c := range []struct {
		what        string
		before, now callbackd.NodesOfName
		want        bool
	}{
		{"none", of(7, 1), of(0, 0), false},
		{"itself in an older list", of(7, 1), of(7, 1), false},
		{"one that joined", of(7, 1), of(8, 1), true},
		{"others of the host, which joined later than the lost one", of(7, 3), of(7, 2), false},
		{"another of the host was started again", of(7, 3), of(8, 2), false},
		{"one of the host joined", of(7, 3), of(8, 3), true},
		{"a version that did not count", of(7, 0), of(8, 1), true},
	} {
		i := callbackd.OpenIncident(callbackd.NodeLostCondition("a", c.before), nil, noon)
		if got := i.NodeIsBack(map[string]callbackd.NodesOfName{"a": c.now, "b": of(9, 9)}); got != c.want {
			t.Errorf("%s: NodeIsBack is %v, want %v", c.what, got, c.want)
		}
	}
	two := callbackd.OpenIncident(callbackd.NodeLostCondition("a", of(7, 3)), nil, noon)
	two.See(callbackd.NodeLostCondition("a", of(7, 2)), noon)
	if two.NodeIsBack(map[string]callbackd.NodesOfName{"a": of(8, 2)}) {
		t.Error("of two lost nodes one has joined again, and both count as back")
	}
	disk := callbackd.OpenIncident(callbackd.DiskCondition(0, 1), nil, noon)
	if disk.NodeIsBack(map[string]callbackd.NodesOfName{"": of(1, 1)}) {
		t.Error("an incident about the disk ends with a node")
	}
}

func TestAnIncidentIsToldOnceWithItsEnd(t *testing.T) {
	i := callbackd.OpenIncident(failing(noon), nil, noon)
	notices, _ := play(&i, noon, func(n int) bool { return n < 100 }, 300)
	if got := join(notices); got != "CALLBACK:FAILING CALLBACK:RECOVERED" {
		t.Errorf("the notices are %s", got)
	}
	if want := noon.Add(100*time.Second + callbackd.SettleFirst); !i.ClosedAt.Equal(want) {
		t.Errorf("closed at %s, want %s", i.ClosedAt, want)
	}
}

// A receiver that fails for 30 s of each minute is one incident: the wait until its end
// doubles each time, to an hour.
func TestAFlappingCallbackIsOneIncident(t *testing.T) {
	i := callbackd.OpenIncident(failing(noon), nil, noon)
	flapping := 2 * 60 * 60
	notices, _ := play(&i, noon, func(n int) bool { return n < flapping && n%60 < 30 }, flapping+2*60*60)
	if got := join(notices); got != "CALLBACK:FAILING CALLBACK:RECOVERED" {
		t.Errorf("the notices are %s", got)
	}
	if i.Count != 120 {
		t.Errorf("it came %d times, want 120", i.Count)
	}
	last := noon.Add(time.Duration(flapping-30) * time.Second)
	if want := last.Add(callbackd.SettleMax); !i.ClosedAt.Equal(want) {
		t.Errorf("closed at %s, want %s, an hour after the last time", i.ClosedAt, want)
	}
	again := callbackd.OpenIncident(failing(i.ClosedAt), &i, i.ClosedAt.Add(time.Minute))
	if again.Flaps <= i.Flaps {
		t.Errorf("the next incident soon after begins with %d flaps, want more than %d", again.Flaps, i.Flaps)
	}
	if later := callbackd.OpenIncident(failing(i.ClosedAt), &i, i.ClosedAt.Add(callbackd.SettleMax)); later.Flaps != 0 {
		t.Errorf("the next incident an hour later begins with %d flaps, want 0", later.Flaps)
	}
}

func TestACallbackThatIsPausedWhileItFailsIsOneIncident(t *testing.T) {
	i := callbackd.OpenIncident(failing(noon), nil, noon)
	told := func(at time.Time) string {
		typ, n := i.Notice(callbackd.ToOperator, at)
		i.Told[callbackd.ToOperator] = n
		return string(typ)
	}
	paused := failing(noon)
	paused.Kind, paused.Facts.Pause = callbackd.NoticePaused, callbackd.PausedNoAnswer
	got := []string{told(noon)}
	i.See(paused, noon.Add(time.Hour))
	got = append(got, told(noon.Add(time.Hour)), told(noon.Add(time.Hour)))
	i.Miss(noon.Add(2*time.Hour), callbackd.EndedDeleted)
	got = append(got, told(noon.Add(2*time.Hour)))
	if s := strings.Join(got, " "); s != "CALLBACK:FAILING CALLBACK:PAUSED  CALLBACK:RECOVERED" {
		t.Errorf("the notices are %q", s)
	}
	if !strings.HasSuffix(i.Text(), " was deleted.") {
		t.Errorf("the text of the end is %q", i.Text())
	}
}

func TestWhatIsNotTold(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*callbackd.Incident)
		ch     callbackd.Channel
	}{
		"muted":                           {func(i *callbackd.Incident) { i.Mute(noon.Add(time.Hour), noon) }, callbackd.ToMail},
		"over before anybody was told":    {func(i *callbackd.Incident) { i.Miss(noon, callbackd.EndedDeleted) }, callbackd.ToKey},
		"the whole server, to a key":      {func(i *callbackd.Incident) { i.Key = 0 }, callbackd.ToKey},
		"a callback for notices":          {func(i *callbackd.Incident) { i.Facts.Event = callbackd.NoticePaused }, callbackd.ToKey},
		"a callback for notices, to all":  {func(i *callbackd.Incident) { i.Facts.Event = callbackd.NoticeFailing }, callbackd.ToOperator},
		"an incident that was told of it": {func(i *callbackd.Incident) { i.Told[callbackd.ToKey] = 1 }, callbackd.ToKey},
	} {
		t.Run(name, func(t *testing.T) {
			i := callbackd.OpenIncident(failing(noon), nil, noon)
			c.change(&i)
			if typ, _ := i.Notice(c.ch, noon); typ != "" {
				t.Errorf("%s is sent", typ)
			}
		})
	}
	i := callbackd.OpenIncident(failing(noon), nil, noon)
	i.Facts.Event = callbackd.NoticePaused
	if typ, _ := i.Notice(callbackd.ToMail, noon); typ != callbackd.NoticeFailing {
		t.Errorf("of a callback for notices, the mail is %q, want %s: no mail leads to a notice", typ, callbackd.NoticeFailing)
	}
}

func TestAMuteOutlastsTheIncident(t *testing.T) {
	i := callbackd.OpenIncident(failing(noon), nil, noon)
	i.Mute(noon.Add(time.Hour), noon)
	i.Miss(noon.Add(time.Minute), callbackd.EndedDeleted)
	again := callbackd.OpenIncident(failing(noon), &i, noon.Add(30*time.Minute))
	if !again.Muted(noon.Add(59*time.Minute)) || again.Muted(noon.Add(time.Hour)) {
		t.Errorf("the next incident is muted until %s, want the same time", again.MutedUntil)
	}
}

// Whatever happens, a channel gets at most one notice of each stage, an end only after a
// beginning (a mail that could not be sent in time tells both), and callbacks get none about a callback for notices.
func TestNoticesOfAnyHistory(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		at := noon
		c := failing(noon)
		c.Facts.Event = callbackd.EventTypes[r.IntN(len(callbackd.EventTypes))]
		i := callbackd.OpenIncident(c, nil, at)
		sent := map[callbackd.Channel][]callbackd.EventType{}
		for range 200 {
			at = at.Add(time.Duration(r.IntN(120)) * time.Second)
			paused := *c
			paused.Kind = callbackd.NoticePaused
			switch r.IntN(5) {
			case 0:
				i.See(c, at)
			case 1:
				i.See(&paused, at)
			case 2:
				i.Mute(at.Add(time.Duration(r.IntN(5))*time.Minute), at)
			default:
				i.Miss(at, callbackd.EndedWell)
			}
			ch := callbackd.Channels[r.IntN(len(callbackd.Channels))]
			typ, told := i.Notice(ch, at)
			if i.Told[ch] = told; typ != "" {
				sent[ch] = append(sent[ch], typ)
			}
		}
		for ch, types := range sent {
			if len(types) > i.Stage {
				t.Errorf("seed %d: %d notices of %d stages on %s", seed, len(types), i.Stage, ch)
			}
			if types[0] == callbackd.NoticeRecovered && ch != callbackd.ToMail {
				t.Errorf("seed %d: %s got an end without a beginning", seed, ch)
			}
			if ch != callbackd.ToMail && c.Facts.Event.IsNotice() {
				t.Errorf("seed %d: %s got a notice about a callback for %s", seed, ch, c.Facts.Event)
			}
		}
	}
}

// The URL of a callback may have a token in its path, and others read notices.
func TestANoticeHasNoURL(t *testing.T) {
	i := callbackd.OpenIncident(failing(noon), nil, noon)
	if strings.Contains(i.Text(), "secret-path") || !strings.Contains(i.Text(), "https://user-chosen.example") {
		t.Errorf("the text is %q, want the origin only", i.Text())
	}
}

func join(types []callbackd.EventType) string {
	var out []string
	for _, t := range types {
		out = append(out, string(t))
	}
	return strings.Join(out, " ")
}

// A mail also tells of what ended while the mail could not be sent, but not of what was muted.
func TestAMailIsSentLate(t *testing.T) {
	for name, c := range map[string]struct {
		told int
		want callbackd.EventType
	}{
		"nobody was told yet": {0, callbackd.NoticeRecovered},
		"it was told":         {1, callbackd.NoticeRecovered},
		"it was muted":        {-1, ""},
	} {
		i := callbackd.OpenIncident(failing(noon), nil, noon)
		i.Told[callbackd.ToMail], i.Told[callbackd.ToKey] = c.told, c.told
		i.Miss(noon, callbackd.EndedDeleted)
		if got, told := i.Notice(callbackd.ToMail, noon); got != c.want || max(told, -told) != 2 {
			t.Errorf("%s: the mail is %q and told %d, want %q", name, got, told, c.want)
		}
		if got, _ := i.Notice(callbackd.ToKey, noon); (got != "") != (c.told > 0) {
			t.Errorf("%s: the notice to the key is %q", name, got)
		}
	}
}

func TestTheTriesOfAMail(t *testing.T) {
	var m callbackd.Mailing
	now := noon
	if !m.Due(now) {
		t.Error("the first try is not due")
	}
	m.Claim(now)
	if m.Due(now.Add(callbackd.MailClaim-1)) || !m.Due(now.Add(callbackd.MailClaim)) {
		t.Error("a claim lasts for a wrong time")
	}
	for n, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
		m.Fail(now)
		if m.Due(now.Add(want-1)) || !m.Due(now.Add(want)) || m.Failed != n+1 {
			t.Errorf("after failure %d: %+v, want a try after %s", n+1, m, want)
		}
	}
	if !m.Due(now.Add(-time.Hour)) {
		t.Error("no try is due after the clock was set back")
	}
}

// What a person notes of an incident has the precision of the store, so that the answer to the
// call and a later read are the same.
func TestWhatPeopleNoteIsInMilliseconds(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 123_456_789, time.UTC)
	var i callbackd.Incident
	i.Acknowledge("somebody", at)
	i.Mute(at.Add(time.Hour), at)
	if want := at.Truncate(time.Millisecond); !i.AckedAt.Equal(want) || !i.MutedUntil.Equal(want.Add(time.Hour)) {
		t.Errorf("acknowledged at %s, muted until %s", i.AckedAt, i.MutedUntil)
	}
}

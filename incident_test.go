package callbackd_test

import (
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
	if !strings.HasSuffix(i.Text(), "it was deleted.") {
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
// beginning, and callbacks get none about a callback for notices.
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
			if types[0] == callbackd.NoticeRecovered {
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

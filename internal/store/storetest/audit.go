package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var auditTests = map[string]func(*suite){
	"EveryCommandIsAuditedOrHasAReason":    (*suite).auditedCommands,
	"TheAuditLogSaysWhatChanged":           (*suite).auditedChange,
	"ARefusedChangeIsNotAudited":           (*suite).auditedRefusal,
	"PausesOfAttemptsAreAudited":           (*suite).auditedPause,
	"TheAuditLogIsListed":                  (*suite).auditListed,
	"OldAuditEntriesAreRemoved":            (*suite).auditPruned,
	"APartOfTheAuditLog":                   (*suite).auditPartly,
	"NotedHeadsOfTheAuditLog":              (*suite).auditHeads,
	"TheAuditLogOfAKeyIsBounded":           (*suite).auditBounded,
	"ConcurrentChangesMakeOneChain":        (*suite).auditTogether,
	"OptionsAreAuditedWhenTheyDiffer":      (*suite).auditedOptions,
	"TheStoreForgetsServersBeyondTheLimit": (*suite).forgottenServers,
}

// notAudited says for the methods of the contract that write no entry why they do not.
var notAudited = map[string]string{
	"Accept": "events have a history of their own, and a callback that an event gives its session has versions", "CreateSession": "sessions have a history of their own",
	"SweepSessionCallbacks": "retention, which the operator sets",
	"Record":                "attempts have a history of their own; a pause is audited, see auditedPause", "MakeDue": "the effect of a resume, which is audited", "StepReplay": "the effect of a replay, which is audited",
	"FinalizeCanceled": "the effect of a deletion or a revocation, which is audited", "Expire": "events and callbacks say when, which is audited", "TakeTurns": "events say when", "Sweep": "retention, which the operator sets", "Prune": "retention, which the operator sets",
	"Forget": "retention: what it removes is used by nothing", "AppendLogs": "a log itself", "AddCounters": "counts",
	"AddEventTypes": "the operator's files have them, and it takes none away", "UseTokens": "use is no change", "WalkSealed": "seals secrets again, and changes none", "ReloadKeyset": "reads a file",
	"OnCommit": "changes nothing stored", "Watch": "changes nothing stored", "OpenIncident": "a rule finds it, and people change nothing", "Ready": "changes nothing stored", "Close": "changes nothing stored",
}

// reads are the beginnings of the names of methods that only read.
var reads = []string{"Read", "List", "Count", "Check", "Verify", "Key", "Callback", "Event", "Delivery", "Session", "Latest", "Due", "Pending", "Earlier", "Health", "Backlogs", "Figures", "Incident", "Unwell", "Look", "Login", "Token", "Answered", "Forgettable", "Replay", "Erase"}

// everyAudited calls each method that is audited, and returns the actions it must lead to.
func (s *suite) everyAudited(ctx context.Context) map[string][]callbackd.AuditAction {
	k := callbackd.Key{Account: "acme", APIKey: "audited", Secret: "api secret", CreatedAt: s.at}
	s.must(second(s.CreateKey(ctx, k)))
	key, err := s.Key(ctx, "audited")
	s.must(err)
	s.must(s.SetCaptureURL(ctx, "audited", "https://c.example/{session_key}"))
	s.must(s.RotateKey(ctx, "audited", "next api secret", s.at.Add(time.Hour)))
	cb := callbackd.Callback{Key: key.ID, Event: ev1, Name: "default", URL: "https://a.example/", Method: "POST", Payload: []byte("{}"),
		Headers: []callbackd.Header{{Name: "Authorization", Value: "header secret"}}, Secrets: []callbackd.SigningSecret{{Value: "signing secret"}}}
	stored, _, err := s.CreateCallback(ctx, cb, s.at)
	s.must(err)
	next := *stored
	next.URL = "https://a.example/2"
	s.must(second(s.ReplaceCallback(ctx, next, s.at)))
	s.must(second(s.RotateSecret(ctx, key.ID, ev1, "default", "next signing secret", s.at.Add(time.Hour), s.at)))
	s.must(second(s.ChangeCallback(ctx, key.ID, ev1, "default", func(cb *callbackd.Callback) error {
		cb.RotateAuth(&callbackd.Auth{Bearer: &callbackd.BearerAuth{Token: "bearer secret"}}, s.at, s.at)
		return nil
	})))
	s.must(second(s.PauseCallback(ctx, key.ID, ev1, "default", callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at})))
	s.must(second(s.PauseCallback(ctx, key.ID, ev1, "default", callbackd.Pause{At: s.at})))
	s.everyAuditedDelivery(ctx, key, stored)
	s.everyAuditedIncident(ctx, key)
	s.must(second(s.DeleteCallback(ctx, key.ID, ev1, "default", s.at)))
	s.everyAuditedSession(ctx, key)
	s.must(second(s.ChangeSettings(ctx, func(now []callbackd.KeySettings) ([]callbackd.SettingsChange, error) {
		i := slices.IndexFunc(now, func(k callbackd.KeySettings) bool { return k.Key.ID == key.ID })
		changed := now[i].Key
		changed.Limits.Callbacks = 7
		return []callbackd.SettingsChange{{KeyBefore: &now[i].Key, Key: &changed}}, nil
	})))
	customer := callbackd.ConsoleLink{Role: callbackd.ConsoleViewer, Lasts: time.Hour}
	for i, l := range []store.Login{{Link: true}, {}, {Customer: customer}} {
		l.Hash, l.Key, l.CreatedAt, l.ExpiresAt = [32]byte{byte(i), 7}, key.ID, s.at, s.at.Add(time.Hour)
		s.must(s.CreateLogin(ctx, l))
		s.must(second(s.TakeLogin(ctx, [32]byte{byte(i), 7})))
	}
	e, err := s.CreateErase(ctx, callbackd.Erase{Key: key.ID, By: callbackd.EraseVIN, CreatedAt: s.at}, markVIN)
	s.must(err)
	for e.Running() {
		step, err := s.StepErase(ctx, e.ID, s.at)
		s.must(err)
		e = step.Erase
	}
	s.must(second(s.CreateErases(ctx, callbackd.Erase{By: callbackd.EraseVIN, CreatedAt: s.at}, []callbackd.KeyID{key.ID}, markVIN)))
	s.must(s.RevokeKey(ctx, "audited", s.at))
	token := callbackd.OperatorToken{ID: "aaaaaaaaaaaa", Hash: [32]byte{1}, Name: "ci", Role: callbackd.RoleRead, CreatedAt: s.at, ExpiresAt: s.at.Add(time.Hour)}
	s.must(s.CreateToken(ctx, token))
	s.must(second(s.RevokeToken(ctx, token.ID, s.at)))
	s.must(s.NoteOptions(ctx, "host", []callbackd.ServerOption{{Name: "operator-token", Value: "operator secret", Secret: true}}, s.at))
	for _, action := range []callbackd.AuditAction{callbackd.AuditLogLevelChanged, callbackd.AuditKeysetChanged, callbackd.AuditKeysetResealed} {
		s.must(s.Note(ctx, action, "host", callbackd.AuditState{"it": "was"}, callbackd.AuditState{"it": "is"}))
	}
	return map[string][]callbackd.AuditAction{
		"CreateKey": {callbackd.AuditKeyCreated}, "ChangeKey": {callbackd.AuditKeyChanged, callbackd.AuditKeyRotated, callbackd.AuditKeyRevoked},
		"ChangeSettings": {callbackd.AuditKeyChanged},
		"CreateCallback": {callbackd.AuditCallbackCreated},
		"ChangeCallback": {callbackd.AuditCallbackReplaced, callbackd.AuditSecretRotated, callbackd.AuditAuthRotated, callbackd.AuditCallbackPaused, callbackd.AuditCallbackResumed, callbackd.AuditCallbackDeleted},
		"CreateReplay":   {callbackd.AuditReplayStarted, callbackd.AuditDeliveriesCanceled}, "SetReplayState": {callbackd.AuditReplayPaused, callbackd.AuditReplayResumed, callbackd.AuditReplayCanceled},
		"Resend": {callbackd.AuditDeliveryResent}, "ChangeSession": {callbackd.AuditSessionChanged, callbackd.AuditSMSResent, callbackd.AuditSessionRemoved},
		"ChangeIncident": {callbackd.AuditIncidentAcknowledged, callbackd.AuditIncidentMuted},
		"CreateErase":    {callbackd.AuditErasureStarted}, "CreateErases": {callbackd.AuditErasureStarted}, "StepErase": {callbackd.AuditErasureEnded},
		"CreateToken": {callbackd.AuditTokenCreated}, "RevokeToken": {callbackd.AuditTokenRevoked},
		"NoteOptions": {callbackd.AuditOptionsChanged}, "Note": {callbackd.AuditLogLevelChanged, callbackd.AuditKeysetChanged, callbackd.AuditKeysetResealed},
		"CreateLogin": {callbackd.AuditLinkCreated, callbackd.AuditLinkUsed, callbackd.AuditSignedIn}, "TakeLogin": {callbackd.AuditSignedOut},
	}
}

func (s *suite) everyAuditedDelivery(ctx context.Context, key *callbackd.Key, cb *callbackd.Callback) {
	ev := s.publish(*key, ev1, "S1")[0]
	s.outcome(s.fresh(cb.ID)[0], callbackd.Failed, time.Time{}, time.Time{})
	r, err := s.CreateReplay(ctx, callbackd.Replay{Key: key.ID, Filter: callbackd.ReplayFilter{Callback: cb.ID}, CreatedAt: s.at})
	s.must(err)
	for _, state := range []callbackd.ReplayState{callbackd.ReplayPaused, callbackd.ReplayRunning, callbackd.ReplayCanceled} {
		s.must(second(s.SetReplayState(ctx, key.ID, r.ID, state, s.at)))
	}
	s.must(second(s.Resend(ctx, key.ID, callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, s.at)))
	s.must(second(s.CreateReplay(ctx, callbackd.Replay{Key: key.ID, Filter: callbackd.CancelFilter(callbackd.ReplayFilter{}),
		Cancel: &callbackd.Cancellation{By: callbackd.ByOperator, Reason: "why"}, CreatedAt: s.at})))
}

func (s *suite) everyAuditedIncident(ctx context.Context, key *callbackd.Key) {
	i, err := s.OpenIncident(ctx, &callbackd.Condition{Kind: callbackd.NoticePaused, Key: key.ID, Name: "1"}, s.at)
	s.must(err)
	for _, change := range []func(*callbackd.Incident){
		func(i *callbackd.Incident) { i.Acknowledge("me", s.at) },
		func(i *callbackd.Incident) { i.Mute(s.at.Add(time.Hour), s.at) },
	} {
		s.must(second(s.ChangeIncident(ctx, key.ID, i.ID, func(i *callbackd.Incident) error {
			change(i)
			return nil
		})))
	}
}

func (s *suite) everyAuditedSession(ctx context.Context, key *callbackd.Key) {
	x := s.newSession(*key, nil)
	for action, change := range map[callbackd.AuditAction]func(*callbackd.Session){
		callbackd.AuditSessionChanged: func(x *callbackd.Session) { x.RedirectURL, x.SMS.To = "https://r.example/", "+15550001" },
		callbackd.AuditSMSResent:      func(*callbackd.Session) {},
	} {
		_, _, err := s.ChangeSession(ctx, key.ID, x.SessionKey, s.at, func(x *callbackd.Session) (store.SessionChange, error) {
			change(x)
			return store.SessionChange{Action: action}, nil
		})
		s.must(err)
	}
	_, _, err := s.ChangeSession(ctx, key.ID, x.SessionKey, s.at, func(*callbackd.Session) (store.SessionChange, error) {
		return store.SessionChange{Remove: true, Action: callbackd.AuditSessionRemoved}, nil
	})
	s.must(err)
}

// auditedCommands checks that every method of the contract is audited, or has a reason not
// to be, that each action occurs, and that no secret is in the log.
func (s *suite) auditedCommands() {
	ctx := store.WithActor(s.ctx(), callbackd.Actor{Kind: callbackd.ActorToken, Name: "ci", Address: "192.0.2.9"})
	audited := s.everyAudited(ctx)
	got := map[callbackd.AuditAction]bool{}
	key, err := s.Key(ctx, "audited")
	s.must(err)
	entries := s.auditOf(key.ID)
	for _, ofServer := range []callbackd.AuditAction{callbackd.AuditTokenCreated, callbackd.AuditTokenRevoked, callbackd.AuditOptionsChanged, callbackd.AuditLogLevelChanged, callbackd.AuditKeysetChanged, callbackd.AuditKeysetResealed} {
		entries = append(entries, s.audited(store.AuditQuery{Action: ofServer})...)
	}
	for _, e := range entries {
		got[e.Action] = true
		s.equal("the actor of "+string(e.Action), e.Actor, callbackd.Actor{Kind: callbackd.ActorToken, Name: "ci", Address: "192.0.2.9"})
		if text := string(e.Before) + string(e.After); strings.Contains(text, " secret") || strings.Contains(text, "+1555") {
			s.Errorf("a secret is in %s: %s", e.Action, text)
		}
	}
	for _, action := range callbackd.AuditActions {
		if !got[action] {
			s.Errorf("nothing leads to the action %s", action)
		}
	}
	contract := reflect.TypeFor[store.Store]()
	for i := range contract.NumMethod() {
		name := contract.Method(i).Name
		isRead := slices.ContainsFunc(reads, func(r string) bool { return strings.HasPrefix(name, r) })
		for _, action := range audited[name] {
			if !got[action] {
				s.Errorf("%s does not lead to %s", name, action)
			}
		}
		if !isRead && audited[name] == nil && notAudited[name] == "" {
			s.Errorf("%s may change something: have it audited and call it in everyAudited, or say in notAudited why it is not", name)
		}
	}
}

// auditOf returns the entries of a key, oldest first.
func (s *suite) auditOf(key callbackd.KeyID) []callbackd.AuditEntry {
	s.Helper()
	return s.audited(store.AuditQuery{Key: key})
}

// audited returns the entries of a query, oldest first.
func (s *suite) audited(q store.AuditQuery) (out []callbackd.AuditEntry) {
	s.Helper()
	for q.Limit = 7; ; {
		page, err := s.ListAudit(s.ctx(), q)
		s.must(err)
		out = append(out, page.Entries...)
		if q.After = page.Next; q.After.Number == 0 {
			slices.Reverse(out)
			return out
		}
	}
}

func (s *suite) auditedChange() {
	cb := s.newCallback(s.key, ev1, "default")
	s.replace(cb, "https://b.example/<x>")
	entries := s.auditOf(s.key.ID)
	e := entries[len(entries)-1]
	s.equal("the entry", []any{e.Action, e.Subject, e.Target, e.Number, e.Actor.Kind}, []any{callbackd.AuditCallbackReplaced, "SESSION:STATUS_CHANGE default", cb.ID, int64(3), callbackd.ActorUnknown})
	s.equal("before", string(e.Before), `{"url":"https://a.example/h"}`)
	s.equal("after", string(e.After), `{"url":"https://b.example/<x>"}`)
	s.reopen()
	s.equal("the entries after a restart", s.auditOf(s.key.ID), entries)
}

// auditedRefusal checks that a change which fails, changes nothing or is a repeat leaves no
// entry.
func (s *suite) auditedRefusal() {
	cb := s.newCallback(s.key, ev1, "default")
	before := len(s.auditOf(s.key.ID))
	_, created, err := s.CreateCallback(s.ctx(), *cb, s.at)
	s.must(err)
	s.equal("whether it was created again", created, false)
	s.kind(second(s.ChangeCallback(s.ctx(), s.key.ID, ev1, "default", func(c *callbackd.Callback) error {
		c.URL = "https://x.example/"
		return callbackd.Errorf(callbackd.KindInvalid, "no")
	})), callbackd.KindInvalid)
	same := *cb
	s.must(second(s.ReplaceCallback(s.ctx(), same, s.at)))
	s.must(s.SetCaptureURL(s.ctx(), "k1", ""))
	s.equal("entries of changes without an effect", len(s.auditOf(s.key.ID))-before, 0)
}

func (s *suite) auditedPause() {
	cb := s.newCallback(s.key, ev1, "default")
	other := s.newCallback(s.key, ev2, "default")
	s.publish(s.key, ev1, "S1", "S2")
	s.publish(s.key, ev2, "S1")
	for _, d := range s.fresh(cb.ID) { // the second one changes nothing more
		s.change(d, callbackd.CallbackChange{Version: 1, Pause: callbackd.PausedByReceiver})
	}
	s.change(s.fresh(other.ID)[0], callbackd.CallbackChange{Version: 1, Pause: callbackd.PausedGone})
	entries := s.auditOf(s.key.ID)[3:]
	if len(entries) != 2 {
		s.Fatalf("%d entries, want 2", len(entries))
	}
	s.equal("who paused", []callbackd.Actor{entries[0].Actor, entries[1].Actor}, []callbackd.Actor{{Kind: callbackd.ActorReceiver, Name: "https://a.example"}, {Kind: callbackd.ActorSystem}})
	s.equal("after", string(entries[0].After), `{"pause":"receiver"}`)
	s.equal("the callback", entries[1].Target, other.ID)
}

func (s *suite) auditListed() {
	other := s.newKey("k2")
	for i := range 5 {
		s.newCallback(s.key, ev1, fmt.Sprint("n", i))
		s.newCallback(other, ev2, fmt.Sprint("n", i))
	}
	s.must(s.CreateLogin(store.WithActor(s.ctx(), callbackd.Actor{Kind: callbackd.ActorOperator}), store.Login{Hash: [32]byte{1}, CreatedAt: s.at, ExpiresAt: s.at.Add(time.Hour)}))
	all := s.auditOf(store.AllKeys)
	s.equal("how many entries of all keys there are", len(all), 13)
	s.equal("that they are in the order of time", slices.IsSortedFunc(all, func(a, b callbackd.AuditEntry) int { return a.At.Compare(b.At) }), true)
	for _, e := range s.auditOf(other.ID) {
		s.equal("the key", e.Key, other.ID)
	}
	last := all[len(all)-1]
	ofCallback := all[slices.IndexFunc(all, func(e callbackd.AuditEntry) bool { return e.Target > 0 })]
	for name, c := range map[string]struct {
		q    store.AuditQuery
		want int
	}{
		"by action":      {store.AuditQuery{Action: callbackd.AuditKeyCreated}, 2},
		"by actor":       {store.AuditQuery{Kind: callbackd.ActorOperator}, 1},
		"by callback":    {store.AuditQuery{Target: ofCallback.Target}, 1},
		"of a key":       {store.AuditQuery{Key: other.ID, Action: callbackd.AuditCallbackCreated}, 5},
		"until a time":   {store.AuditQuery{Until: all[0].At}, 0},
		"since a time":   {store.AuditQuery{Since: last.At.Add(time.Millisecond)}, 0},
		"since the last": {store.AuditQuery{Key: other.ID, Since: all[0].At}, 6},
	} {
		c.q.Limit = 100
		page, err := s.ListAudit(s.ctx(), c.q)
		s.must(err)
		s.equal("entries "+name, len(page.Entries), c.want)
	}
}

// verify returns the faults in the audit log.
func (s *suite) verify(heads ...callbackd.AuditHead) []string {
	s.Helper()
	report, err := s.VerifyAudit(s.ctx(), heads, nil)
	s.must(err)
	return report.Faults
}

// heads returns the heads of all chains.
func (s *suite) heads() (heads []callbackd.AuditHead) {
	s.Helper()
	report, err := s.VerifyAudit(s.ctx(), nil, nil)
	s.must(err)
	for _, c := range report.Chains {
		heads = append(heads, c.HeadOf())
	}
	return heads
}

func (s *suite) auditPruned() {
	cb := s.newCallback(s.key, ev1, "default")
	s.replace(cb, "https://b.example/")
	noted := s.heads()
	removed, err := s.Prune(s.ctx(), store.Prune{Audit: time.Now().Add(time.Hour)}, 2)
	s.must(err)
	s.equal("how many entries the first step removed", removed, 2)
	s.equal("the numbers that are left", []int64{s.auditOf(s.key.ID)[0].Number}, []int64{3})
	s.equal("faults", s.verify(noted...), []string(nil))
	s.must(second(s.Prune(s.ctx(), store.Prune{Audit: time.Now().Add(time.Hour)}, 2)))
	s.equal("the entries that are left", len(s.auditOf(s.key.ID)), 0)
	s.equal("faults", s.verify(noted...), []string(nil))
	s.replace(cb, "https://c.example/")
	s.equal("the number of the next entry", s.auditOf(s.key.ID)[0].Number, int64(4))
	s.equal("faults", s.verify(noted...), []string(nil))
	s.equal("how many entries that are younger were removed", second2(s.Prune(s.ctx(), store.Prune{Audit: time.Now().Add(-time.Hour)}, 10)), 0)
}

func second2(n int, err error) int {
	if err != nil {
		return -1
	}
	return n
}

// auditPartly checks the log only until it is enough, which it is after the chain of no key.
func (s *suite) auditPartly() {
	s.newCallback(s.key, ev1, "default")
	var last [2]int64
	all, err := s.VerifyAudit(s.ctx(), nil, func(done, total int64) bool { last = [2]int64{done, total}; return true })
	s.must(err)
	s.equal("whether all of it is a part", all.Partly, false)
	s.equal("the last step", last, [2]int64{all.Entries, all.Entries})
	asked, first := int64(0), all.Chains[0]
	part, err := s.VerifyAudit(s.ctx(), nil, func(_, _ int64) bool { asked++; return asked == 1 })
	s.must(err)
	s.equal("a part of the check", []any{part.Partly, part.Entries, part.FaultN}, []any{true, first.Last - first.First + 1, int64(0)})
	if all.Entries <= part.Entries {
		s.Errorf("the whole log has %d entries, and a part of it %d", all.Entries, part.Entries)
	}
}

func (s *suite) auditHeads() {
	noted := s.heads()
	for _, h := range noted {
		read, ok := callbackd.ParseAuditHead(h.String())
		s.equal("the head "+h.String()+" as it is read", []any{read, ok}, []any{h, true})
	}
	s.newCallback(s.key, ev1, "default")
	s.equal("faults with an older head", s.verify(noted...), []string(nil))
	later := s.heads()
	wrong := later[1]
	wrong.Hash[0]++
	s.equal("faults with another head", s.verify(wrong), []string{"entry 2 of the audit log of API key 1 is another one than when its head was noted"})
	wrong.Number = 9
	s.equal("faults with a head that is not there", s.verify(wrong), []string{"the audit log of API key 1 ends with entry 2, but had entry 9 when its head was noted"})
	wrong.Key = 77
	s.equal("faults with a head of another key", s.verify(wrong), []string{"the audit log of API key 77 is missing; it had entry 9 when its head was noted"})
}

// auditBounded fills the log of a key with changes of a session, which share commits.
func (s *suite) auditBounded() {
	if testing.Short() {
		s.Skip("it writes ten thousand entries")
	}
	x := s.newSession(s.key, nil)
	const total, atOnce = callbackd.MaxAudit + 500, 500
	for range total / atOnce {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				_, _, err := s.ChangeSession(s.ctx(), s.key.ID, x.SessionKey, s.at, func(*callbackd.Session) (store.SessionChange, error) {
					return store.SessionChange{Action: callbackd.AuditSMSResent}, nil
				})
				if err != nil {
					s.Error(err)
				}
			})
		}
		all.Wait()
	}
	report, err := s.VerifyAudit(s.ctx(), nil, nil)
	s.must(err)
	c := report.Chains[1]
	s.equal("faults", report.Faults, []string(nil))
	s.equal("the newest entry", c.Last, int64(total+1))
	if n := c.Last - c.First + 1; n < callbackd.MaxAudit || n > callbackd.MaxAudit+atOnce {
		s.Errorf("the log has %d entries", n)
	}
}

// auditTogether changes callbacks of several keys at the same time.
func (s *suite) auditTogether() {
	keys := []callbackd.Key{s.key, s.newKey("k2"), s.newKey("k3")}
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			_, _, err := s.CreateCallback(s.ctx(), callbackd.Callback{Key: keys[i%3].ID, Event: callbackd.EventTypes[i/3%4], Name: fmt.Sprint("n", i/12), URL: "https://a.example/", Method: "POST", Payload: []byte("{}")}, s.at)
			if err != nil {
				s.Error(err)
			}
			if err := s.CreateLogin(s.ctx(), store.Login{Hash: [32]byte{byte(i), 3}, Key: keys[(i+1)%3].ID, CreatedAt: s.at, ExpiresAt: s.at.Add(time.Hour)}); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	s.equal("faults", s.verify(), []string(nil))
	for _, k := range keys {
		s.equal("how many entries "+k.APIKey+" has", len(s.auditOf(k.ID)), 17)
	}
}

// Tamper checks that a check of the store finds each way to change the audit log with a
// database's own means, and says where. exec runs statements on the database of a closed
// store.
func Tamper(t *testing.T, open Open, exec func(t *testing.T, dir string, statements ...string)) {
	for name, c := range map[string]struct {
		statements []string
		want       []string
	}{
		"a changed text":  {[]string{"UPDATE audit SET actor_name = 'nobody' WHERE key_no = 1 AND n = 2"}, []string{"entry 2 of the audit log of API key 1 was changed"}},
		"a changed state": {[]string{"UPDATE audit SET old_state = new_state WHERE key_no = 1 AND n = 3"}, []string{"entry 3 of the audit log of API key 1 was changed"}},
		"a changed time":  {[]string{"UPDATE audit SET at = at + 1 WHERE key_no = 1 AND n = 1"}, []string{"entry 1 of the audit log of API key 1 was changed"}},
		"a removed entry": {[]string{"DELETE FROM audit WHERE key_no = 1 AND n = 2"}, []string{"entry 2 of the audit log of API key 1 is missing"}},
		"a cut end":       {[]string{"DELETE FROM audit WHERE key_no = 1 AND n > 2"}, []string{"entries 3 to 4 of the audit log of API key 1 are missing"}},
		"a cut end that is hidden": {[]string{"DELETE FROM audit WHERE key_no = 1 AND n > 2", "UPDATE audit_chains SET last = 2, head_hash = (SELECT hash FROM audit WHERE key_no = 1 AND n = 2) WHERE key_no = 1"},
			[]string{"the start or the end of the audit log of API key 1 was changed"}},
		"a cut start that is hidden": {[]string{"UPDATE audit_chains SET first = 2, start_hash = (SELECT hash FROM audit WHERE key_no = 1 AND n = 1) WHERE key_no = 1", "DELETE FROM audit WHERE key_no = 1 AND n = 1"},
			[]string{"the start or the end of the audit log of API key 1 was changed"}},
		"an inserted entry": {[]string{"INSERT INTO audit (key_no, n, at, action, actor_kind, actor_name, actor_address, subject, target, hash) SELECT key_no, 5, at, action, actor_kind, actor_name, actor_address, subject, target, hash FROM audit WHERE key_no = 1 AND n = 4"},
			[]string{"entry 5 of the audit log of API key 1 does not belong there: the log has entries 1 to 4"}},
		"swapped entries": {[]string{"UPDATE audit SET n = 100 WHERE key_no = 1 AND n = 2", "UPDATE audit SET n = 2 WHERE key_no = 1 AND n = 3", "UPDATE audit SET n = 3 WHERE key_no = 1 AND n = 100"},
			[]string{"entry 2 of the audit log of API key 1 was changed", "entry 3 of the audit log of API key 1 was changed", "entry 4 of the audit log of API key 1 was changed"}},
		"an entry of another key": {[]string{"DELETE FROM audit WHERE key_no = 1 AND n = 1", "UPDATE audit SET key_no = 1 WHERE key_no = 2 AND n = 1"},
			[]string{"entry 1 of the audit log of API key 1 was changed", "entry 2 of the audit log of API key 1 was changed", "entry 1 of the audit log of API key 2 is missing"}},
		"a removed log": {[]string{"DELETE FROM audit WHERE key_no = 1", "DELETE FROM audit_chains WHERE key_no = 1"}, []string{"2 API keys have begun an audit log, but 1 have one"}},
		"entries without a log": {[]string{"DELETE FROM audit_chains WHERE key_no = 2"},
			[]string{"2 API keys have begun an audit log, but 1 have one", "entries of the audit log of API key 2 belong to no log: its start and its end are missing"}},
		"a removed log of the operator": {[]string{"DELETE FROM audit WHERE key_no = 0", "DELETE FROM audit_chains WHERE key_no = 0"},
			[]string{"the audit log of the operator is missing", "0 API keys have begun an audit log, but 2 have one"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &suite{T: t, dir: t.TempDir(), open: open, at: time.Now().Truncate(time.Millisecond)}
			s.Store = open(t, s.dir)
			s.key = s.newKey("k1")
			s.newKey("k2")
			cb := s.newCallback(s.key, ev1, "default")
			s.replace(cb, "https://b.example/")
			s.replace(cb, "https://c.example/")
			s.equal("faults before", s.verify(), []string(nil))
			s.must(s.Store.Close())
			exec(t, s.dir, c.statements...)
			s.Store = open(t, s.dir)
			found, err := s.VerifyAudit(s.ctx(), nil, nil)
			s.must(err)
			s.equal("what verify finds", found.Faults, c.want)
			for _, key := range found.Broken {
				s.equal("whether a fault names "+callbackd.AuditOwner(key), strings.Contains(strings.Join(c.want, "; "), callbackd.AuditOwner(key)), true)
			}
			s.equal("whether the log of API key 1 is broken", slices.Contains(found.Broken, callbackd.KeyID(1)), strings.Contains(c.want[0], "audit log of API key 1"))
			report, err := s.Check(s.ctx())
			s.must(err)
			s.equal("what fsck finds", report.Faults, c.want)
			s.must(s.Store.Close())
		})
	}
}

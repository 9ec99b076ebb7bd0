package postgres

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// console runs what the console shows and changes.
func (s *commands) console() {
	s.t.Helper()
	s.ok(s.AppendLogs(s.ctx, []store.LogEntry{{Key: s.key, At: s.now}, {Key: s.key, At: s.now, Count: 2}}))
	s.ok(s.AddCounters(s.ctx, []store.MinuteCounters{{Callback: s.cb.ID, Key: s.key, Minute: s.now, Counters: store.Counters{Delivered: 1}, Receiver: store.Receiver{LastSuccess: s.now}}}))
	s.ok(second(s.ListStats(s.ctx, store.StatsQuery{Callback: s.cb.ID, Interval: store.Minute, Since: s.now.Add(-time.Hour), Until: s.now})))
	s.ok(second(s.ListHealth(s.ctx, store.HealthQuery{Attention: true, CertBefore: s.now})))
	s.lists(s.key)
	s.lists(store.AllKeys)
	s.ok(second(s.Health(s.ctx, s.cb.ID, store.PendingQuery{Limit: 10})))
	s.ok(second(s.Figures(s.ctx)))
	s.ok(second(s.Backlogs(s.ctx, s.now)))
	s.ok(s.AddUpCounts(s.ctx))
	s.ok(second(s.Prune(s.ctx, store.Prune{Logs: s.now, Minutes: s.now, Hours: s.now, Replays: s.now}, 10)))
	link := [32]byte{1}
	s.ok(s.CreateLogin(s.ctx, store.Login{Hash: link, Link: true, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}))
	s.ok(s.CreateLogin(s.ctx, store.Login{Hash: [32]byte{8}, Key: s.key, Customer: callbackd.ConsoleLink{Role: callbackd.ConsoleViewer}, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}))
	s.refused(second(s.Login(s.ctx, link, s.now)), callbackd.KindNotFound)
	s.ok(second(s.TakeLogin(s.ctx, link)))
	s.ok(s.CreateToken(s.ctx, callbackd.OperatorToken{ID: "t", Hash: link, Name: "t", Role: callbackd.RoleRead, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour)}))
	s.ok(second(s.ListTokens(s.ctx)))
	s.ok(second(s.Token(s.ctx, "t")))
	s.ok(s.UseTokens(s.ctx, map[string]time.Time{"t": s.now}))
	s.ok(second(s.RevokeToken(s.ctx, "t", s.now)))
	change := func(k *callbackd.Key) error {
		k.CaptureURL = "https://capture.example/{session_key}"
		return k.Rotate("next", s.now)
	}
	s.ok(s.ChangeKey(s.ctx, "k", change))
	s.refused(s.ChangeKey(s.ctx, "no such key", change), callbackd.KindNotFound)
}

// lists runs each list of a key, or of all, in each of its ways.
func (s *commands) lists(key callbackd.KeyID) {
	s.t.Helper()
	for _, after := range []int64{0, 1} {
		q := store.CallbackQuery{Key: key, After: callbackd.CallbackID(after), Limit: 1}
		s.ok(second(s.ListCallbacks(s.ctx, q)))
		s.ok(second(s.ListHealth(s.ctx, store.HealthQuery{CallbackQuery: q})))
		for _, running := range []bool{false, true} {
			s.ok(second(s.ListReplays(s.ctx, store.ReplayQuery{Key: key, Running: running, After: callbackd.ReplayID(after), Limit: 10})))
		}
		s.ok(second(s.ListLogs(s.ctx, store.LogQuery{Key: key, After: store.LogCursor{ID: store.LogID(after)}, Limit: 10})))
	}
	for _, q := range []store.CallbackQuery{{Event: s.cb.Event}, {Name: s.cb.Name}, {Event: s.cb.Event, Name: s.cb.Name}} {
		q.Key, q.Limit = key, 1
		s.ok(second(s.ListCallbacks(s.ctx, q)))
	}
	s.ok(second(s.SessionEvents(s.ctx, store.SessionEventQuery{Key: key, Session: "S", Limit: 10})))
	for _, session := range []string{"", "S"} {
		s.ok(second(s.ListEvents(s.ctx, store.EventQuery{Key: key, Session: session, Limit: 1})))
		for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled, callbackd.Expired} {
			for _, status := range []int{0, 5} {
				s.ok(second(s.ListDeliveries(s.ctx, store.DeliveryQuery{Key: key, Session: session, State: state, Status: status, Limit: 1})))
			}
		}
	}
	for _, q := range []store.SessionQuery{{VIN: "1FTEW1EP5NKD00001"}, {SessionKey: "X"}, {Status: callbackd.StatusIdle}, {Text: "x"}} {
		q.Key, q.Limit = key, 10
		s.ok(second(s.ListSessions(s.ctx, q)))
	}
	s.ok(second(s.LatestEvents(s.ctx, []store.SessionID{{Key: key, SessionKey: "X"}}, 10)))
}

package core

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
)

// How much a step of an erasure changes.
const (
	eraseSlice      = 25 // events
	eraseAnswerPage = 50
	eraseLogPage    = 500
)

// count counts what erasing the next events would erase, or the session after them.
func (r *eraseStep) count() (done bool, err error) {
	return r.eachSession(func(session string, evs []*callbackd.Event) error {
		c := &r.erase.Progress.Counts
		c.Events += int64(len(evs))
		if len(evs) == 0 {
			return nil
		}
		var n int64
		if err := r.tx.Query("SELECT count(*) FROM attempts WHERE version > 0 AND event_id "+r.s.d.In("$1"), func(row Row) error { return row.Scan(&n) }, eventIDs(evs)); err != nil {
			return err
		}
		c.Attempts += n
		if err := r.eraseDigests(evs); err != nil {
			return err
		}
		rows, err := r.s.deliveryRows(r.tx, deliveriesOf(evs))
		for _, of := range rows {
			if of.Pending != nil {
				c.Canceled++
			}
		}
		return err
	}, func(session string) error {
		w, err := ReadSession(r.tx, r.erase.Key, session)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		r.countSession(w.Stored)
		return nil
	})
}

func (r *eraseStep) countSession(s *callbackd.Session) {
	c := &r.erase.Progress.Counts
	c.Documents++
	c.Photos += int64(len(s.Photos))
	c.Notes += int64(s.Notes)
}

// eachSession calls slice with the next events of the session under way, or finish when
// it has no more, and then goes on with the next session.
func (r *eraseStep) eachSession(slice func(session string, evs []*callbackd.Event) error, finish func(session string) error) (done bool, err error) {
	p := &r.erase.Progress
	session, err := r.nextSession()
	if err != nil || session == "" {
		return session == "", err
	}
	evs, last, err := r.lockSlice(session)
	switch {
	case err != nil:
		return false, err
	case last == 0:
		p.Session, p.At = session, 0
		return false, finish(session)
	}
	p.At = last
	return false, slice(session, evs)
}

// lockSlice reads the next events of a session, without those that are erased already, and
// locks them: a resend and a replay lock their events too. last is the sequence number of
// the last one that was read, or 0 when there is none.
func (r *eraseStep) lockSlice(session string) (evs []*callbackd.Event, last int64, err error) {
	e := r.erase
	var ids []callbackd.EventID
	err = r.tx.Query("SELECT id, sequence FROM "+r.s.d.SessionEvents+" WHERE key_no = $1 AND session = $2 AND sequence > $3 AND id <= $4 ORDER BY "+r.s.d.SessionOrder+" LIMIT $5", func(row Row) error {
		var id callbackd.EventID
		err := row.Scan(&id, &last)
		ids = append(ids, id)
		return err
	}, e.Key, session, e.Progress.At, e.UpTo, eraseSlice)
	if err != nil || len(ids) == 0 {
		return nil, 0, err
	}
	err = r.tx.Query("SELECT "+eventColumns+" FROM events WHERE id "+r.s.d.In("$1")+" ORDER BY id"+r.s.d.Lock, func(row Row) error {
		ev, err := r.s.scanEvent(row)
		if !ev.IsErased() {
			evs = append(evs, ev)
		}
		return err
	}, ids)
	if err != nil {
		return nil, 0, err
	}
	return evs, last, r.s.addLateTargets(r.tx, evs)
}

func eventIDs(evs []*callbackd.Event) []callbackd.EventID {
	ids := make([]callbackd.EventID, len(evs))
	for i, ev := range evs {
		ids[i] = ev.ID
	}
	return ids
}

// eraseNext erases the next events, or the session after them.
func (r *eraseStep) eraseNext() (done bool, err error) {
	return r.eachSession(func(session string, evs []*callbackd.Event) error {
		if len(evs) == 0 {
			return nil
		}
		r.erase.Progress.Counts.Events += int64(len(evs))
		// What is pending ends first. From then on no outcome is recorded but as the end of
		// a canceled delivery, and that looks whether the event is erased.
		if err := r.cancel(evs); err != nil {
			return err
		}
		for _, f := range []func([]*callbackd.Event) error{r.eraseData, r.eraseAttempts, r.eraseDigests} {
			if err := f(evs); err != nil {
				return err
			}
		}
		return nil
	}, r.eraseSession)
}

// cancel ends the pending deliveries of events.
func (r *eraseStep) cancel(evs []*callbackd.Event) (err error) {
	byID := eventsByID(evs)
	ids := deliveriesOf(evs)
	slices.SortFunc(ids, func(a, b callbackd.DeliveryID) int { // all nodes lock in one order
		return cmp.Or(cmp.Compare(a.Callback, b.Callback), cmp.Compare(a.Event, b.Event))
	})
	c := unsent{at: r.at, byReplay: map[callbackd.ReplayID]int{}, sums: Sums{}}
	if r.canceled, err = r.s.cancelDeliveries(r.tx, &c, callbackd.WhyErased, r.erase.Key, byID, ids); err != nil {
		return err
	}
	r.erase.Progress.Counts.Canceled += int64(len(r.canceled))
	return r.s.countUnsent(r.tx, &c)
}

func (r *eraseStep) eraseData(evs []*callbackd.Event) error {
	rows := make([][]any, len(evs))
	for i, ev := range evs {
		rows[i] = []any{ev.ID, callbackd.ErasedData, codec.WithheldColumn(callbackd.ErasedWithheld(ev.Withheld)), r.at}
	}
	return r.tx.Batch("UPDATE events SET data = $2, withheld = $3, erased_at = $4, trace = NULL WHERE id = $1", nil, rows)
}

// eraseAttempts removes the requests, answers and reasons of the events' attempts.
func (r *eraseStep) eraseAttempts(evs []*callbackd.Event) error {
	var rows [][]any
	err := r.tx.Query("SELECT event_id, callback_no, n, version, state, detail FROM attempts WHERE event_id "+r.s.d.In("$1"), func(row Row) error {
		var id callbackd.DeliveryID
		var a callbackd.Attempt
		var state callbackd.State
		var detail []byte
		if err := row.Scan(&id.Event, &id.Callback, &a.Number, &a.Version, &state, &detail); err != nil {
			return err
		}
		if err := codec.ReadAttempt(detail, &a); err != nil {
			return damaged(err)
		}
		a.State = state
		a.Erase()
		rows = append(rows, []any{id.Event, id.Callback, a.Number, codec.AppendAttempt(nil, &a)})
		if a.Version > 0 {
			r.erase.Progress.Counts.Attempts++
		}
		return nil
	}, eventIDs(evs))
	if err != nil {
		return err
	}
	return r.tx.Batch("UPDATE attempts SET detail = $4 WHERE event_id = $1 AND callback_no = $2 AND n = $3", nil, rows)
}

// eraseDigests removes the hashes of the requests that published events: a person's number
// can be guessed from a hash. A repeat with the idempotency key then fails, and does not
// bring the data back. A dry run only counts them.
func (r *eraseStep) eraseDigests(evs []*callbackd.Event) error {
	var rows [][]any
	for _, ev := range evs {
		of, err := r.digestsOf(ev)
		if err != nil {
			return err
		}
		for _, d := range of {
			first, err := r.firstErased(d.events)
			if err != nil {
				return err
			}
			if first == ev.ID { // each digest once
				rows = append(rows, []any{ev.Key, d.hash, []byte{}})
			}
		}
	}
	r.erase.Progress.Counts.Idempotency += int64(len(rows))
	return r.batch("UPDATE idempotency SET digest = $3 WHERE key_no = $1 AND hash = $2", rows)
}

// digest is the hash of a request that published events.
type digest struct {
	hash   []byte // of its idempotency key
	events []callbackd.EventID
}

// digestsOf returns the digests of the requests that published an event. A batch has its
// digest with its first event, and the ids of a batch follow each other.
func (r *eraseStep) digestsOf(ev *callbackd.Event) (of []digest, err error) {
	err = r.tx.Query("SELECT key_no, hash, events FROM idempotency WHERE first > $1 AND first <= $2 AND digest <> $3", func(row Row) error {
		var key callbackd.KeyID
		var hash, events []byte
		err := row.Scan(&key, &hash, &events)
		if ids := codec.IDs(events); err == nil && key == ev.Key && slices.Contains(ids, ev.ID) {
			of = append(of, digest{hash, ids})
		}
		return err
	}, ev.ID-callbackd.MaxBatch, ev.ID, []byte{})
	return of, err
}

// firstErased returns the first of the events whose session is erased.
func (r *eraseStep) firstErased(ids []callbackd.EventID) (callbackd.EventID, error) {
	if len(ids) == 1 {
		return ids[0], nil
	}
	of := map[callbackd.EventID]string{}
	var sessions []string
	// With accepted_at, which the index of sessions does not have, PostgreSQL reads by the primary
	// key, also when it has counted no rows. It would walk that index otherwise.
	err := r.tx.Query("SELECT id, session, accepted_at FROM events WHERE id "+r.s.d.In("$1"), func(row Row) error {
		var id callbackd.EventID
		var session string
		var accepted time.Time
		err := row.Scan(&id, &session, &accepted)
		of[id], sessions = session, append(sessions, session)
		return err
	}, ids)
	if err != nil {
		return 0, err
	}
	are, err := r.among(sessions)
	for _, id := range ids {
		if session, stored := of[id]; stored && are[session] {
			return id, err
		}
	}
	return 0, err
}

// batch changes rows, unless the erasure is a dry run.
func (r *eraseStep) batch(sql string, rows [][]any) error {
	if r.erase.DryRun {
		return nil
	}
	return r.tx.Batch(sql, nil, rows)
}

// eraseSession erases a stored session and its notes. The session may have events only.
func (r *eraseStep) eraseSession(session string) error {
	id := store.SessionID{Key: r.erase.Key, SessionKey: session}
	found, err := r.s.db.ChangeSession(r.tx, id, func(s *callbackd.Session) {
		r.countSession(s)
		s.Erase(r.at)
	})
	if err != nil || !found {
		return err
	}
	erased := Text(callbackd.Erased)
	_, err = r.tx.Exec("UPDATE session_notes SET title = $3, description = $3, inserted_by = $3 WHERE session_no = (SELECT no FROM sessions WHERE key_no = $1 AND session = $2)",
		id.Key, session, erased)
	return err
}

// eraseAnswers erases the next stored answers that name one of the sessions.
func (r *eraseStep) eraseAnswers() (done bool, err error) {
	e, p := r.erase, &r.erase.Progress
	type answer struct {
		hash  []byte
		texts []string
	}
	var answers []answer
	var all []string
	n := 0
	err = r.tx.Query("SELECT hash, status, answer FROM answers WHERE key_no = $1 AND hash > $2 AND at <= $4 ORDER BY key_no, hash LIMIT $3", func(row Row) error {
		var a answer
		var status int
		var sealed []byte
		if err := row.Scan(&a.hash, &status, &sealed); err != nil {
			return err
		}
		n++
		p.Hash = a.hash
		if status == erasedAnswer {
			return nil
		}
		body, err := r.s.sealer.OpenAnswer(sealed, e.Key, a.hash)
		if err != nil {
			return damaged(err)
		}
		if isErasure(body) { // which has nothing of the person
			return nil
		}
		a.texts = sessionTexts(body)
		answers, all = append(answers, a), append(all, a.texts...)
		return nil
	}, e.Key, p.Hash, eraseAnswerPage, e.CreatedAt)
	if err != nil {
		return false, err
	}
	are, err := r.among(all)
	if err != nil {
		return false, err
	}
	var rows [][]any
	for _, a := range answers {
		if !slices.ContainsFunc(a.texts, func(text string) bool { return are[text] }) {
			continue
		}
		sealed, err := r.s.sealer.Answer(e.Key, a.hash, nil)
		if err != nil {
			return false, err
		}
		rows = append(rows, []any{e.Key, a.hash, []byte{}, erasedAnswer, sealed})
	}
	p.Counts.Idempotency += int64(len(rows))
	return n < eraseAnswerPage, r.batch("UPDATE answers SET digest = $3, status = $4, answer = $5 WHERE key_no = $1 AND hash = $2", rows)
}

// isErasure reports whether an answer is that of a call that started an erasure.
func isErasure(answer []byte) bool {
	var a struct{ ID string }
	if json.Unmarshal(answer, &a) != nil {
		return false
	}
	_, ok := callbackd.ParseEraseID(a.ID)
	return ok
}

// eraseLogs erases the messages of the next logged calls to the sessions.
func (r *eraseStep) eraseLogs() (done bool, err error) {
	e, p := r.erase, &r.erase.Progress
	parts := map[int64][]string{} // of the paths
	var all []string
	n := 0
	err = r.tx.Query("SELECT id, path, message FROM logs WHERE key_no = $1 AND id > $2 ORDER BY key_no, id LIMIT $3", func(row Row) error {
		var path, message Text
		err := row.Scan(&p.At, &path, &message)
		n++
		if message == "" || message == callbackd.Erased {
			return err
		}
		for part := range strings.SplitSeq(string(path), "/") {
			if mayBeSession(part) {
				parts[p.At], all = append(parts[p.At], part), append(all, part)
			}
		}
		return err
	}, e.Key, p.At, eraseLogPage)
	if err != nil {
		return false, err
	}
	are, err := r.among(all)
	if err != nil {
		return false, err
	}
	var rows [][]any
	for id, texts := range parts {
		if slices.ContainsFunc(texts, func(text string) bool { return are[text] }) {
			rows = append(rows, []any{e.Key, id, Text(callbackd.Erased)})
		}
	}
	p.Counts.Logs += int64(len(rows))
	return n < eraseLogPage, r.batch("UPDATE logs SET message = $3 WHERE key_no = $1 AND id = $2", rows)
}

// eraseReasons erases the reasons of the next cancellations that were made for one of the
// sessions.
func (r *eraseStep) eraseReasons() (done bool, err error) {
	e, p := r.erase, &r.erase.Progress
	var given []*callbackd.Replay
	var sessions []string
	n := 0
	err = r.tx.Query("SELECT "+replayColumns+" FROM replays WHERE key_no = $1 AND id > $2 ORDER BY key_no, id LIMIT $3", func(row Row) error {
		re, err := scanReplay(row)
		if err != nil {
			return err
		}
		n++
		p.At = int64(re.ID)
		if re.Cancels() && re.Filter.Session != "" && re.Cancel.Reason != "" && re.Cancel.Reason != callbackd.Erased {
			given, sessions = append(given, re), append(sessions, re.Filter.Session)
		}
		return nil
	}, e.Key, p.At, eraseSessionPage)
	if err != nil {
		return false, err
	}
	are, err := r.among(sessions)
	if err != nil {
		return false, err
	}
	var rows [][]any
	for _, re := range given {
		if !are[re.Filter.Session] {
			continue
		}
		re.Cancel.Reason = callbackd.Erased
		filter, err := json.Marshal(replayOrder{re.Filter, re.Cancel})
		if err != nil {
			return false, err
		}
		rows = append(rows, []any{re.ID, string(filter)})
	}
	p.Counts.Reasons += int64(len(rows))
	return n < eraseSessionPage, r.batch("UPDATE replays SET filter = $2 WHERE id = $1", rows)
}

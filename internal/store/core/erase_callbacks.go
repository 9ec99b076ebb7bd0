package core

import (
	"callbackd"
)

// eraseCallbackPage is how many callbacks for one session a step of an erasure looks at.
const eraseCallbackPage = 500

// eraseCallbacks erases the settings of the next callbacks that are for one of the sessions,
// and ends those in force: they were given for that session, and may name its person.
func (r *eraseStep) eraseCallbacks() (done bool, err error) {
	e, p := r.erase, &r.erase.Progress
	of := map[callbackd.CallbackID]string{}
	var sessions []string
	n := 0
	err = r.tx.Query("SELECT no, session FROM callbacks WHERE key_no = $1 AND no > $2 AND session IS NOT NULL ORDER BY no LIMIT $3", func(row Row) error {
		var session string
		err := row.Scan(&p.At, &session)
		n++
		of[callbackd.CallbackID(p.At)], sessions = session, append(sessions, session)
		return err
	}, e.Key, p.At, eraseCallbackPage)
	if err != nil {
		return false, err
	}
	are, err := r.among(sessions)
	if err != nil {
		return false, err
	}
	var ids []callbackd.CallbackID
	for id, session := range of {
		if are[session] {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		err = r.eraseSettings(ids)
	}
	return n < eraseCallbackPage, err
}

// eraseSettings erases the versions of callbacks that are from before the erasure, and ends
// those that have no later one.
func (r *eraseStep) eraseSettings(ids []callbackd.CallbackID) error {
	type version struct {
		callback callbackd.CallbackID
		number   int64
	}
	erased, callbacks := map[version]bool{}, map[callbackd.CallbackID]bool{}
	err := r.tx.Query("SELECT callback_no, version FROM callback_versions WHERE at <= $2 AND url <> $3 AND callback_no "+r.s.d.In("$1"), func(row Row) error {
		var v version
		err := row.Scan(&v.callback, &v.number)
		erased[v], callbacks[v.callback] = true, true
		return err
	}, ids, r.erase.CreatedAt, callbackd.ErasedURL)
	if err != nil {
		return err
	}
	r.erase.Progress.Counts.Callbacks += int64(len(callbacks))
	if r.erase.DryRun || len(callbacks) == 0 {
		return nil
	}
	var rows [][]any
	for v := range erased {
		was := callbackd.Callback{ID: v.callback, Version: v.number}
		was.Erase()
		headers, err := r.s.sealer.Headers(&was)
		if err != nil {
			return err
		}
		rows = append(rows, []any{was.ID, was.Version, was.URL, headers, was.Payload})
	}
	if err := r.tx.Batch("UPDATE callback_versions SET url = $3, headers = $4, payload = $5, fields = NULL WHERE callback_no = $1 AND version = $2", nil, rows); err != nil {
		return err
	}
	present, err := r.s.callbacksWhere(r.tx, "c.no "+r.s.d.In("$1")+" ORDER BY c.no", ids)
	if err != nil {
		return err
	}
	for _, cb := range present {
		if !erased[version{cb.ID, cb.Version}] {
			continue
		}
		before := *cb
		cb.Erase()
		if !cb.Deleted() {
			cb.DeletedAt = r.at
		}
		if err := r.s.updateCallback(r.tx, &before, cb, false); err != nil {
			return err
		}
		r.ended = append(r.ended, cb.ID)
	}
	return nil
}

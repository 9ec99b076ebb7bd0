package core

import (
	"encoding/json"
	"strings"

	"callbackd"
	"callbackd/internal/store"
)

// How much a step of an erasure reads.
const (
	eraseSessionPage = 200
	eraseEventPage   = 50
)

// found adds sessions to those that the erasure erases.
func (r *eraseStep) found(sessions ...string) error {
	rows := make([][]any, len(sessions))
	for i, session := range sessions {
		rows[i] = []any{r.erase.ID, session}
	}
	return r.tx.Batch("INSERT INTO erase_sessions (erase_id, session) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING session", func(Row) error {
		r.erase.Progress.Counts.Sessions++
		return nil
	}, rows)
}

// findSessions looks for the value in the next sessions of the key.
func (r *eraseStep) findSessions() (done bool, err error) {
	e, p := r.erase, &r.erase.Progress
	if e.By == callbackd.EraseSession {
		return true, r.found(e.Subject)
	}
	var chosen []string
	n := 0
	err = r.tx.Query("SELECT no, key_no, session, status, created_at, ended_at, reference, NULL, document FROM "+r.s.d.By("sessions", "sessions_by_time")+
		" WHERE key_no = $1 AND (created_at, session) > ($2, $3) ORDER BY created_at, session LIMIT $4", func(row Row) error {
		w, err := ScanSession(row)
		if err != nil {
			return err
		}
		n++
		p.At, p.Session = w.Stored.CreatedAt.UnixMilli(), w.Stored.SessionKey
		if e.ChoosesSession(w.Stored) {
			chosen = append(chosen, w.Stored.SessionKey)
		}
		return nil
	}, e.Key, p.At, p.Session, eraseSessionPage)
	if err != nil {
		return false, err
	}
	return n < eraseSessionPage, r.found(chosen...)
}

// findEvents looks for the value in the data of the next events of the key.
func (r *eraseStep) findEvents() (done bool, err error) {
	e, p := r.erase, &r.erase.Progress
	if e.By == callbackd.EraseSession {
		return true, nil
	}
	var chosen []string
	n, size := 0, 0
	err = r.tx.Query("SELECT id, session, data FROM "+r.s.d.KeyEvents+" WHERE key_no = $1 AND id > $2 AND id <= $3 ORDER BY key_no, id LIMIT $4", func(row Row) error {
		if size >= store.MaxPageData {
			return ErrStop
		}
		var session string
		var data []byte
		err := row.Scan(&p.At, &session, &data)
		n, size = n+1, size+len(data)
		if err == nil && e.ChoosesData(data) {
			chosen = append(chosen, session)
		}
		return err
	}, e.Key, p.At, e.UpTo, eraseEventPage)
	if err != nil {
		return false, err
	}
	return n < eraseEventPage && size < store.MaxPageData, r.found(chosen...)
}

// nextSession returns the first session after the last one that is done; empty when there
// is none.
func (r *eraseStep) nextSession() (session string, err error) {
	err = r.tx.Query("SELECT session FROM erase_sessions WHERE erase_id = $1 AND session > $2 ORDER BY session LIMIT 1", func(row Row) error {
		return row.Scan(&session)
	}, r.erase.ID, r.erase.Progress.Session)
	return session, err
}

// among returns which of the texts are sessions that the erasure erases.
func (r *eraseStep) among(texts []string) (map[string]bool, error) {
	are := map[string]bool{}
	if len(texts) == 0 {
		return are, nil
	}
	err := r.tx.Query("SELECT session FROM erase_sessions WHERE erase_id = $1 AND session "+r.s.d.In("$2"), func(row Row) error {
		var session string
		err := row.Scan(&session)
		are[session] = true
		return err
	}, r.erase.ID, texts)
	return are, err
}

// sessionTexts returns the texts of a JSON value that may be session keys.
func sessionTexts(raw []byte) (texts []string) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	for {
		token, err := dec.Token()
		if err != nil { // the end
			return texts
		}
		if text, ok := token.(string); ok && mayBeSession(text) {
			texts = append(texts, text)
		}
	}
}

func mayBeSession(text string) bool {
	return text != "" && len(text) <= callbackd.MaxSessionKey && storable(text)
}

package postgres

import (
	"callbackd"
	"callbackd/internal/store/codec"
)

// keepLastErrors and dropLastErrors are parts of the statement of record. It has the
// outcomes in recorded; error is 0 for a success.
const (
	keepLastErrors = `erred AS (INSERT INTO last_errors AS l (event_id, callback_no, error) SELECT event_id, callback_no, error FROM recorded WHERE error <> 0
			ON CONFLICT (event_id, callback_no) DO UPDATE SET error = excluded.error)`
	dropLastErrors = `cured AS (DELETE FROM last_errors WHERE ctid = ANY (ARRAY (SELECT l.place FROM (SELECT * FROM recorded WHERE error = 0 AND n > 1) f
			CROSS JOIN LATERAL (SELECT ctid AS place FROM last_errors WHERE event_id = f.event_id AND callback_no = f.callback_no LIMIT 1) l)))`
)

// lastErrorNumber returns the value of error in the statement of record.
func lastErrorNumber(a *callbackd.Attempt, state callbackd.State) int64 {
	e, none := codec.LastErrorOf(a, state)
	if none {
		return 0
	}
	return e.Number()
}

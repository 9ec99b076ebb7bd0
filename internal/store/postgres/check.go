package postgres

import (
	"math"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"
)

// selectOutOfSequence finds sessions whose sequence numbers do not grow with the ids, or
// whose counter is below a number that was given out. It reads all events, so it may use
// plans that other statements must not use.
const selectOutOfSequence = `SELECT session, id FROM (
		SELECT session, id, sequence, lag(sequence) OVER (PARTITION BY key_no, session ORDER BY id) AS before FROM events) e
	WHERE sequence <= before
	UNION ALL SELECT e.session, max(e.id) FROM events e LEFT JOIN session_sequences s ON s.key_no = e.key_no AND s.session = e.session
	GROUP BY e.key_no, e.session, s.sequence, s.last_id HAVING s.sequence IS NULL OR max(e.sequence) > s.sequence OR max(e.id) > s.last_id`

// Audit is part of [core.Driver].
func (d seam) Audit(tx core.Tx, report *store.Report) (flushed callbackd.EventID, err error) {
	plans := []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"}
	for _, plan := range plans {
		if _, err := tx.Exec("SET LOCAL " + plan + " = on"); err != nil {
			return 0, err
		}
	}
	err = tx.Query(selectOutOfSequence, func(row core.Row) error {
		var session string
		var id callbackd.EventID
		err := row.Scan(&session, &id)
		report.Fault("session %q: event %s is out of sequence", session, id)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, plan := range plans {
		if _, err := tx.Exec("SET LOCAL " + plan + " TO DEFAULT"); err != nil {
			return 0, err
		}
	}
	return math.MaxInt64, nil // every delivery has its rows
}

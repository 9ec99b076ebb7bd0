package postgres

import (
	"encoding/json"
	"testing"
)

// The search for an earlier delivery of a session reads no event that is older than the
// oldest pending delivery of a callback, however long the session is.
func TestEarlierDoesNotWalkALongSession(t *testing.T) {
	t.Parallel()
	s := open(t, Options{URL: stock.URL(t), KeysetFile: keyset})
	defer s.Close()
	conn, err := s.hot.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{
		`INSERT INTO callbacks (no, key_no, type, name, version, policy, secrets, created_at, updated_at, revision) OVERRIDING SYSTEM VALUE
			VALUES (901, 900, 4, 'a', 1, '{}', '', 0, 0, 0), (902, 900, 4, 'b', 1, '{}', '', 0, 0, 0)`,
		"INSERT INTO events SELECT g << 21, 900, 4, 'S', g, false, '\\x01', '{}' FROM generate_series(1::bigint, 5000) g",
		"INSERT INTO pending (callback_no, event_id, attempts, step, manual) SELECT 901, id, 0, 0, false FROM events WHERE key_no = 900 AND id > 4990::bigint << 21",
		"ANALYZE events", "ANALYZE pending",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var text []byte
	err = conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+selectEarlier, int64(900), []string{"S"}, []int64{4995 << 21}, int64(0)).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	var plans []struct{ Plan read }
	if err := json.Unmarshal(text, &plans); err != nil {
		t.Fatal(err)
	}
	if n := plans[0].Plan.events(); n > 10 {
		t.Errorf("%v events were read\n%s", n, text)
	}
}

// read is a step of a plan that has run.
type read struct {
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Plans    []read  `json:"Plans"`
}

// events returns how many rows of events the step and those below it have read.
func (r read) events() float64 {
	n := 0.0
	if r.Relation == "events" {
		n = r.Rows * r.Loops
	}
	for _, p := range r.Plans {
		n += p.events()
	}
	return n
}

package core

import (
	"context"
	"fmt"
	"strings"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/seal"
)

// SealedColumn is a column whose values are sealed.
type SealedColumn struct {
	Table, Column string
	// Key are the columns of the primary key, and Also those that Owner needs besides.
	Key, Also []string
	// Start is less than the primary key of any row.
	Start []any
	// Owner returns the owner of a value from the columns of Key and Also.
	Owner func(row []any) string
}

// sealedColumns lists the columns that are sealed in every database. A test finds a sealed
// column that is missing here.
var sealedColumns = []SealedColumn{
	{"keys", "secret", []string{"no"}, []string{"api_key"}, []any{int64(0)}, ownerOfKey},
	{"keys", "old_secret", []string{"no"}, []string{"api_key"}, []any{int64(0)}, ownerOfKey},
	{"callbacks", "secrets", []string{"no"}, nil, []any{int64(0)}, func(row []any) string {
		return seal.SecretsOwner(callbackd.CallbackID(row[0].(int64)))
	}},
	{"callback_versions", "headers", []string{"callback_no", "version"}, nil, []any{int64(0), int64(0)}, func(row []any) string {
		return seal.HeadersOwner(callbackd.CallbackID(row[0].(int64)), row[1].(int64))
	}},
	{"answers", "answer", []string{"key_no", "hash"}, nil, []any{int64(0), []byte{}}, func(row []any) string {
		return seal.AnswerOwner(callbackd.KeyID(row[0].(int64)), row[1].([]byte))
	}},
	{"audit_key", "sealed", []string{"no"}, nil, []any{int64(0)}, func([]any) string { return auditKeyOwner }},
}

func ownerOfKey(row []any) string { return seal.KeyOwner(row[1].(string)) }

// sealedValue is one value of a sealed column.
type sealedValue struct {
	row    []any // Key and Also
	sealed []byte
}

// read returns up to limit values in the order of the primary key, which are after a row.
// A row without a value is among them, with a nil value.
func (c *SealedColumn) read(tx Tx, after []any, limit int) (values []sealedValue, err error) {
	columns := append(append([]string{}, c.Key...), c.Also...)
	params := make([]string, len(c.Key))
	for i := range c.Key {
		params[i] = fmt.Sprintf("$%d", i+1)
	}
	key := strings.Join(c.Key, ", ")
	sql := fmt.Sprintf("SELECT %s, %s FROM %s WHERE (%s) > (%s) ORDER BY %s LIMIT $%d",
		strings.Join(columns, ", "), c.Column, c.Table, key, strings.Join(params, ", "), key, len(c.Key)+1)
	err = tx.Query(sql, func(row Row) error {
		v := sealedValue{row: make([]any, len(columns))}
		dest := make([]any, len(columns)+1)
		for i := range columns {
			dest[i] = destLike(c.Start, i)
		}
		dest[len(columns)] = &v.sealed
		err := row.Scan(dest...)
		for i := range columns {
			v.row[i] = pointed(dest[i])
		}
		values = append(values, v)
		return err
	}, append(append([]any{}, after...), limit)...)
	return values, err
}

// destLike returns where to scan a column of a row: one of the key is like the start, and
// the others are texts.
func destLike(start []any, i int) any {
	if i >= len(start) {
		return new(string)
	}
	switch start[i].(type) {
	case int64:
		return new(int64)
	case bool:
		return new(bool)
	}
	return new([]byte)
}

func pointed(dest any) any {
	switch d := dest.(type) {
	case *int64:
		return *d
	case *string:
		return *d
	case *bool:
		return *d
	}
	return *dest.(*[]byte)
}

// update replaces values that are still what they were, and returns how many it replaced.
// A row of the arguments is the new value, the old one, and the primary key.
func (c *SealedColumn) update(tx Tx, rows [][]any) (n int64, err error) {
	sql := fmt.Sprintf("UPDATE %s SET %s = $1 WHERE %s = $2", c.Table, c.Column, c.Column)
	for i, k := range c.Key {
		sql += fmt.Sprintf(" AND %s = $%d", k, i+3)
	}
	err = tx.Batch(sql+" RETURNING 1", func(Row) error { n++; return nil }, rows)
	return n, err
}

// sealed returns all columns that are sealed.
func (s *Store) sealed() []SealedColumn {
	return append(sealedColumns[:len(sealedColumns):len(sealedColumns)], s.d.Sealed...)
}

// Keyset is part of [store.Sealing].
func (s *Store) Keyset() callbackd.Keyset {
	if s.sealer == nil {
		return callbackd.Keyset{}
	}
	return s.sealer.Keyset()
}

// ReloadKeyset is part of [store.Sealing].
func (s *Store) ReloadKeyset() (changed bool, err error) { return s.sealer.Reload() }

// WalkSealed is part of [store.Sealing].
func (s *Store) WalkSealed(ctx context.Context, w *store.SealedWalk) error {
	var values []sealedValue
	c, next := &s.sealed()[w.Column], *w
	err := s.db.Read(ctx, func(tx Tx) (err error) {
		if w.Count && w.Column == 0 && w.After == nil {
			if next.Total, err = s.countSealed(tx); err != nil {
				return err
			}
		}
		values, err = c.read(tx, after(c, w), w.Rows)
		return err
	})
	if err != nil {
		return err
	}
	rows := s.look(&next, c, values)
	if len(rows) > 0 {
		n := int64(0)
		// Not a change of settings: nobody reads another secret than before.
		err := s.db.Write(ctx, Repeatable, func(tx Tx) (err error) {
			n, err = c.update(tx, rows)
			return err
		})
		if err != nil {
			return err
		}
		next.Sealed.Resealed += n
	}
	s.turnPage(&next, c, values)
	*w = next
	return nil
}

// countSealed returns how many secrets there are.
func (s *Store) countSealed(tx Tx) (total int64, err error) {
	for _, c := range s.sealed() {
		err := tx.Query("SELECT count("+c.Column+") FROM "+c.Table, func(row Row) error {
			var n int64
			err := row.Scan(&n)
			total += n
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// after returns the row after which a step begins.
func after(c *SealedColumn, w *store.SealedWalk) []any {
	if w.After == nil {
		return c.Start
	}
	return w.After
}

// look counts values, and returns the arguments of update for those to seal again.
func (s *Store) look(w *store.SealedWalk, c *SealedColumn, values []sealedValue) (rows [][]any) {
	counts := &w.Sealed
	if counts.ByKey == nil {
		counts.ByKey = map[callbackd.SealingKey]int64{}
	}
	for _, v := range values {
		if v.sealed == nil {
			continue
		}
		counts.Secrets++
		counts.ByKey[seal.KeyOf(v.sealed)]++
		var again []byte
		var err error
		if w.Reseal {
			again, err = s.sealer.Reseal(v.sealed, c.Owner(v.row))
		} else {
			_, err = s.sealer.Unseal(v.sealed, c.Owner(v.row))
		}
		switch {
		case err != nil:
			if counts.FaultN++; len(counts.Faults) < store.MaxFaults {
				counts.Faults = append(counts.Faults, err.Error())
			}
		case again != nil:
			rows = append(rows, append([]any{again, v.sealed}, v.row[:len(c.Key)]...))
		}
	}
	return rows
}

// turnPage sets where the next step begins.
func (s *Store) turnPage(w *store.SealedWalk, c *SealedColumn, values []sealedValue) {
	if len(values) == w.Rows {
		w.After = values[len(values)-1].row[:len(c.Key)]
		return
	}
	w.Column, w.After = w.Column+1, nil
	w.Done = w.Column == len(s.sealed())
}

// secrets opens every secret.
func (c *checker) secrets(ctx context.Context) error {
	if c.s.sealer == nil { // there is no keyset, because there is no key yet
		return nil
	}
	w := &store.SealedWalk{Rows: checkChunk}
	for !w.Done {
		column := &c.s.sealed()[w.Column]
		values, err := column.read(c.tx, after(column, w), w.Rows)
		if err != nil {
			return err
		}
		c.s.look(w, column, values)
		c.s.turnPage(w, column, values)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	c.report.Sealed = w.Sealed
	for _, fault := range w.Sealed.Faults {
		c.report.Fault("%s", fault)
	}
	c.report.FaultN += w.Sealed.FaultN - int64(len(w.Sealed.Faults))
	return nil
}

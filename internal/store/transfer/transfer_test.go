package transfer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

var numbers = Table{"numbers", []string{"no", "text", "more"}, 1}

// memory is a database of one table, with keys from 1 on.
type memory struct {
	rows   []Row
	limits []int
	fail   int // Append fails at this call
	calls  int
}

func (m *memory) Rows(ctx context.Context, t *Table, after Row, limit int) ([]Row, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.limits = append(m.limits, limit)
	from := 0
	if after != nil {
		from = slices.IndexFunc(m.rows, func(r Row) bool { return r[0] == after[0] }) + 1
	}
	to := from
	for size := 0; to < len(m.rows) && to-from < limit && size < MaxPageBytes; to++ {
		size += m.rows[to].Size()
	}
	return m.rows[from:to], nil
}

func (m *memory) Last(context.Context, *Table) (Row, error) {
	if len(m.rows) == 0 {
		return nil, nil
	}
	return m.rows[len(m.rows)-1][:1], nil
}

var errFull = errors.New("full")

func (m *memory) Append(_ context.Context, _ *Table, rows []Row) error {
	if m.calls++; m.calls == m.fail {
		return errFull
	}
	m.rows = append(m.rows, rows...)
	return nil
}

func made(n, size int) *memory {
	m := &memory{}
	for i := range n {
		m.rows = append(m.rows, Row{int64(i + 1), strings.Repeat("x", size), nil})
	}
	return m
}

func TestCopyGoesOnAfterTheLastRow(t *testing.T) {
	from, to := made(3*maxPageRows+5, 10), &memory{fail: 3}
	told := 0
	tell := func(n int) { told += n }
	if err := Copy(t.Context(), from, to, &numbers, tell); !errors.Is(err, errFull) {
		t.Fatalf("the error is %v, want %v", err, errFull)
	}
	if n := len(to.rows); n != 2*maxPageRows {
		t.Fatalf("%d rows are copied, want %d", n, 2*maxPageRows)
	}
	if told != len(to.rows) {
		t.Fatalf("%d rows are reported as copied, want %d", told, len(to.rows))
	}
	if err := Copy(t.Context(), from, to, &numbers, tell); err != nil || told != len(from.rows) {
		t.Fatalf("%v, %d told", err, told)
	}
	if sum, err := Compare(t.Context(), from, to, &numbers); err != nil || sum.Rows != int64(len(from.rows)) {
		t.Errorf("%v, %+v", err, sum)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Copy(ctx, from, &memory{}, &numbers, tell); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A page is hardly larger than MaxPageBytes, and few rows are read that do not fit.
func TestPagesAreBounded(t *testing.T) {
	from := made(200, 256<<10)
	pages := 0
	err := each(t.Context(), from, &numbers, nil, func(rows []Row) error {
		pages++
		if len(rows) > 17 {
			t.Errorf("a page of %d rows", len(rows))
		}
		return nil
	})
	if err != nil || pages < 12 {
		t.Errorf("%v, %d pages", err, pages)
	}
	for _, limit := range from.limits[1:] {
		if limit > 16 {
			t.Errorf("asked for %d rows of 256 KiB", limit)
		}
	}
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	base := []Row{{int64(1), "ab", []byte("c")}, {int64(2), nil, 0.5}}
	for name, c := range map[string]struct {
		rows []Row
		want string
	}{
		"equal":             {[]Row{{int64(1), []byte("ab"), "c"}, {int64(2), nil, 0.5}}, ""},
		"a row less":        {base[:1], "2 rows became 1"},
		"a row more":        {append(slices.Clone(base), Row{int64(3), nil, nil}), "2 rows became 3"},
		"another number":    {[]Row{base[0], {int64(3), nil, 0.5}}, "not the same"},
		"another border":    {[]Row{{int64(1), "a", "bc"}, base[1]}, "not the same"},
		"none for empty":    {[]Row{base[0], {int64(2), "", 0.5}}, "not the same"},
		"truth for a float": {[]Row{base[0], {int64(2), nil, int64(1)}}, "not the same"},
	} {
		_, err := Compare(t.Context(), &memory{rows: base}, &memory{rows: c.rows}, &numbers)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

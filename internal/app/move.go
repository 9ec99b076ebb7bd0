package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"callbackd/internal/store"
	"callbackd/internal/store/postgres"
	"callbackd/internal/store/seal"
	"callbackd/internal/store/sqlite"
	"callbackd/internal/store/transfer"
)

// Moved is one report of a move: rows that were copied to a table, or with a Sum that the
// table is equal on both sides.
type Moved struct {
	Table string
	Rows  int
	Sum   *transfer.Sum
}

// Move copies everything from the data directory of a stopped server to an empty
// PostgreSQL database, and compares both sides. A move that was interrupted continues
// where it stopped. to.KeysetFile is the keyset of the nodes; the directory's own is
// copied to it when the file does not exist.
func Move(ctx context.Context, from string, to StoreConfig, report func(Moved)) (err error) {
	keyset := to.KeysetFile
	if _, err := os.Stat(keyset); errors.Is(err, fs.ErrNotExist) {
		keyset = filepath.Join(from, sqlite.KeysetFile)
	}
	src, err := sqlite.OpenSource(sqlite.Options{Dir: from, KeysetFile: keyset})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if keyset != to.KeysetFile {
		if err := seal.Copy(keyset, to.KeysetFile); err != nil {
			return err
		}
	}
	dst, err := postgres.OpenTarget(ctx, postgres.Options{URL: to.DatabaseURL, KeysetFile: to.KeysetFile}, src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	tell, err := moveProgress(ctx, src, dst)
	if err != nil {
		return err
	}
	for i := range transfer.Tables {
		t := &transfer.Tables[i]
		copied := func(rows int) {
			report(Moved{Table: t.Name, Rows: rows})
			tell(int64(rows))
		}
		if err := transfer.Copy(ctx, src, dst, t, copied); err != nil {
			return err
		}
	}
	for i := range transfer.Tables {
		t := &transfer.Tables[i]
		sum, err := transfer.Compare(ctx, src, dst, t)
		if err != nil {
			return err
		}
		report(Moved{Table: t.Name, Sum: &sum})
		tell(sum.Rows)
	}
	return dst.Finish(ctx)
}

// moveProgress returns what is told how many rows were copied or compared, and tells the
// context's progress: of the rows that are still to copy and all that will be compared.
func moveProgress(ctx context.Context, src *sqlite.Source, dst *postgres.Target) (func(rows int64), error) {
	tell := store.ProgressOf(ctx)
	if tell == nil {
		return func(int64) {}, nil
	}
	var done, total int64
	for i := range transfer.Tables {
		t := &transfer.Tables[i]
		last, err := dst.Last(ctx, t)
		if err != nil {
			return nil, err
		}
		for _, after := range []transfer.Row{last, nil} {
			rows, err := src.Count(t, after)
			if err != nil {
				return nil, err
			}
			total += rows
		}
	}
	return func(rows int64) {
		done += rows
		tell(done, total)
	}, nil
}

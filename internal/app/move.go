package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"callbackd/internal/store/postgres"
	"callbackd/internal/store/seal"
	"callbackd/internal/store/sqlite"
	"callbackd/internal/store/transfer"
)

// Moved is what a move tells: rows of a table that were appended, and then,
// with a Sum, that the table is the same on both sides.
type Moved struct {
	Table string
	Rows  int
	Sum   *transfer.Sum
}

// Move takes everything from the data directory of a stopped server to an
// empty PostgreSQL database, and proves that it is there. One that was broken
// off goes on where it was. to.KeysetFile is what nodes will be started with; the
// directory's own is copied to it when it is not there.
func Move(ctx context.Context, from string, to StoreConfig, tell func(Moved)) (err error) {
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
	for i := range transfer.Tables {
		t := &transfer.Tables[i]
		if err := transfer.Copy(ctx, src, dst, t, func(rows int) { tell(Moved{Table: t.Name, Rows: rows}) }); err != nil {
			return err
		}
	}
	for i := range transfer.Tables {
		t := &transfer.Tables[i]
		sum, err := transfer.Compare(ctx, src, dst, t)
		if err != nil {
			return err
		}
		tell(Moved{Table: t.Name, Sum: &sum})
	}
	return dst.Finish(ctx)
}

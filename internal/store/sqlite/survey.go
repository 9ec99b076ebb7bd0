package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// Survey looks at a data directory and changes nothing. A server may run meanwhile. It fails
// where no server of this version can start.
func Survey(o Options) (out store.Survey, err error) {
	out.Program = len(steps)
	path := filepath.Join(o.Dir, dbFile)
	if _, err := os.Stat(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, unusable(o.Dir, err)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, movedFile)); err == nil {
		return out, callbackd.Errorf(callbackd.KindSetting, "%s", movedError(o.Dir))
	}
	if size(path) == 0 && size(path+"-wal") == 0 {
		if _, err := os.Stat(filepath.Join(o.Dir, KeysetFile)); err == nil {
			return out, lostDatabase(o.Dir, "missing or empty")
		}
		return out, nil
	}
	s := newStore(o)
	defer func() { err = errors.Join(err, s.unlock()) }()
	open, err := s.reading(o.Dir)
	if err != nil {
		return out, err
	}
	d, err := open("query_only=ON")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	have, err := identify(d, o.Dir)
	if err != nil {
		return out, err
	}
	out.Made, out.Schema = have > 0, int(have)
	if !out.Made {
		return out, nil
	}
	return out, d.query("SELECT max(id) FROM events", func(st *sqlite3.Stmt) error {
		if id := callbackd.EventID(st.ColumnInt64(0)); id != 0 {
			out.Newest = id.Time()
		}
		return nil
	})
}

package sqlite

import (
	"path/filepath"
	"testing"

	"callbackd/internal/store/storetest"

	"github.com/ncruces/go-sqlite3"
)

func TestKeysetRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	defer s.Close()
	storetest.Rotation(t, s, filepath.Join(dir, KeysetFile), func(t *testing.T) map[string][][]byte { return blobs(t, s) })
}

func TestUnknownSealingKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	defer s.Close()
	storetest.UnknownKey(t, s, filepath.Join(dir, KeysetFile))
}

// blobs returns the values of all columns that are blobs, by table and column.
func blobs(t *testing.T, s *Store) map[string][][]byte {
	t.Helper()
	out := map[string][][]byte{}
	err := s.read(t.Context(), func(d *db) error {
		var columns [][2]string
		err := d.query("SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'", func(st *sqlite3.Stmt) error {
			columns = append(columns, [2]string{st.ColumnText(0), st.ColumnText(1)})
			return nil
		})
		for _, c := range columns {
			if err != nil {
				break
			}
			err = d.query("SELECT "+c[1]+" FROM "+c[0]+" WHERE typeof("+c[1]+") = 'blob'", func(st *sqlite3.Stmt) error {
				out[c[0]+"."+c[1]] = append(out[c[0]+"."+c[1]], append([]byte{}, st.ColumnRawBlob(0)...))
				return nil
			})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

package seal_test

import (
	"path/filepath"
	"testing"

	"callbackd/internal/store/seal"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, file string) *seal.Sealer {
	t.Helper()
	s, err := seal.Open(file, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func derive(t *testing.T, s *seal.Sealer, purpose string) [][]byte {
	t.Helper()
	keys, err := s.Derive(purpose)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Every process with the keyset derives the same keys for a purpose, and other keys for
// another purpose.
func TestDerivedKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	first, again := open(t, file), open(t, file)
	other := open(t, filepath.Join(t.TempDir(), "keys.json"))
	keys := derive(t, first, "a purpose")
	if len(keys) != 1 || len(keys[0]) != 32 {
		t.Fatalf("%x, want one key of 32 bytes", keys)
	}
	if diff := cmp.Diff(keys, derive(t, again, "a purpose")); diff != "" {
		t.Errorf("another process with the keyset: %s", diff)
	}
	for what, got := range map[string][][]byte{"another purpose": derive(t, first, "another"), "another keyset": derive(t, other, "a purpose")} {
		if cmp.Equal(keys, got) {
			t.Errorf("%s has the same keys", what)
		}
	}
}

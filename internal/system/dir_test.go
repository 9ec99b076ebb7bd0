package system_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"callbackd/internal/system"
)

func TestMakeDirSyncsTheNameOfEachDirectoryThatItMakes(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "a", "b", "c")
	var synced []string
	note := func(dir string) error {
		synced = append(synced, dir)
		return nil
	}
	if err := system.MakeDirWith(path, note); err != nil {
		t.Fatal(err)
	}
	if want := []string{base, filepath.Join(base, "a"), filepath.Join(base, "a", "b")}; !slices.Equal(synced, want) {
		t.Errorf("%q were synced, want %q", synced, want)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("%s is not there: %v", path, err)
	}
	synced = nil
	if err := system.MakeDirWith(path, note); err != nil || synced != nil {
		t.Errorf("a directory that is there: %v, %q were synced", err, synced)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{file, filepath.Join(file, "below")} {
		if err := system.MakeDirWith(wrong, note); err == nil {
			t.Errorf("%s was made, although a file is in its place", wrong)
		}
	}
}

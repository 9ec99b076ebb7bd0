// Clients writes the generated parts of clients/typescript and clients/python from
// internal/api/openapi.yaml: run `go run ./scripts/clients` after a change of the document.
// A test compares the committed files with what it writes.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(1)
	}
}

// write writes all generated files below the root of the repository.
func write(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the texts of all generated files by their names below root.
func generate(root string) (map[string]string, error) {
	raw, err := os.ReadFile(filepath.Join(root, "internal/api/openapi.yaml"))
	if err != nil {
		return nil, err
	}
	doc, err := read(raw)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"clients/typescript/src/api.ts":        typeScript(doc),
		"clients/python/src/callbackd/_api.py": python(doc),
	}, nil
}

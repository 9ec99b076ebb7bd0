package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

//go:embed static
var staticFiles embed.FS

// assets has the address of each static file. A hash of the content is part of
// the address, so that browsers may keep the file for ever.
var assets = func() map[string]string {
	out := map[string]string{}
	err := fs.WalkDir(staticFiles, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := staticFiles.ReadFile(name)
		sum := sha256.Sum256(raw)
		out[path.Base(name)] = link("static", hex.EncodeToString(sum[:6]), path.Base(name))
		return err
	})
	if err != nil {
		panic(err) // an embedded file cannot be missing
	}
	return out
}()

var staticTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// Style returns the style sheet of the console, for other pages that look like it.
func Style() string {
	raw, err := staticFiles.ReadFile("static/console.css")
	if err != nil {
		panic(err) // an embedded file cannot be missing
	}
	return string(raw)
}

func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	if c.Brand.serve(w, r) {
		return
	}
	file := r.PathValue("file")
	raw, err := staticFiles.ReadFile("static/" + file)
	if err != nil || assets[file] != r.URL.Path {
		c.fail(w, r, nil, errPageNotFound)
		return
	}
	w.Header().Set("Content-Type", staticTypes[path.Ext(file)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(raw)
}

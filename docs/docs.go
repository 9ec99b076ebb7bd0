// Package docs has the documents of callbackd, which the binary serves at /docs.
package docs

import "embed"

// Files has every document and the images that they show.
//
//go:embed *.md *.png howto/*.md
var Files embed.FS

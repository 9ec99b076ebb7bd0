package cli

import (
	"bytes"
	"context"
	"io"
	"os"

	"callbackd/internal/progress"
	"callbackd/internal/store"

	"golang.org/x/term"
)

// isTerminal reports whether f is a terminal.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// withBar returns the command's context with a progress bar for what the store does in it, when
// standard error is a terminal, and a function that removes the bar.
func withBar(e *env, unit string, format func(int64) string) (context.Context, func()) {
	bar := progress.New(e.stderr, unit, format)
	if bar == nil {
		return e.ctx, func() {}
	}
	return store.WithProgress(e.ctx, func(done, total int64) { bar.Show(done, total, "") }), bar.Clear
}

// Colours of a terminal.
const (
	noColour = ""
	grey     = "\x1b[90m"
	red      = "\x1b[31m"
	green    = "\x1b[32m"
	yellow   = "\x1b[33m"
)

// coloured returns a text in a colour.
func coloured(colour, text string) string {
	if colour == noColour {
		return text
	}
	return colour + text + "\x1b[0m"
}

// hasColours reports whether what is written to out may have colours: on a terminal that has
// them, unless the variable NO_COLOR is set.
func hasColours(out io.Writer) bool {
	return isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// ctrlC is what a terminal sends for Ctrl-C when it is read key by key.
const ctrlC = 3

// readKeys calls press for each key, until Ctrl-C ends it and calls stop. It returns a
// function that restores the terminal. It does nothing when standard input is not a terminal.
func readKeys(press func(key byte), stop func()) (restore func(), on bool) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return func() {}, false
	}
	before, err := term.MakeRaw(in)
	if err != nil {
		return func() {}, false
	}
	go func() {
		var key [1]byte
		for {
			if n, err := os.Stdin.Read(key[:]); n == 0 || err != nil {
				return
			}
			if key[0] == ctrlC {
				stop()
				return
			}
			press(key[0])
		}
	}()
	return func() { _ = term.Restore(in, before) }, true // the program ends anyway
}

// rawLines writes lines to a terminal that is read key by key, which does not return to the
// first column by itself.
type rawLines struct{ out io.Writer }

// Write writes a text with its line ends.
func (w rawLines) Write(p []byte) (int, error) {
	if _, err := w.out.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

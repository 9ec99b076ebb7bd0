package cli

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/profile"
	"callbackd/internal/safetext"

	"github.com/alecthomas/kong"
)

// The scripts have the shell ask completeCmd each time, so they contain no command and fit
// every later version.
var (
	//go:embed completion/callbackd.bash
	bashCompletion string
	//go:embed completion/callbackd.zsh
	zshCompletion string
	//go:embed completion/callbackd.fish
	fishCompletion string
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help is shown below the options.
func (*completionCmd) Help() string {
	return "bash: add the line source <(callbackd completion bash) to ~/.bashrc. zsh: callbackd completion zsh > \"${fpath[1]}/_callbackd\". fish: callbackd completion fish > ~/.config/fish/completions/callbackd.fish. The packages for Debian and RPM install all three."
}

// Run prints the script.
func (c *completionCmd) Run(e *env) error {
	_, err := io.WriteString(e.stdout, map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell])
	return err
}

// completeCmd answers the scripts.
type completeCmd struct {
	Shell string   `arg:"" enum:"bash,zsh,fish" help:"The shell that asks."`
	Words []string `arg:"" optional:"" help:"The words after the name of the program up to the cursor; for bash, the line up to the cursor."`
}

// filesWanted is printed when the shell must complete the name of a file. No candidate begins
// with a tab.
const filesWanted = "\tfiles"

// Run prints a candidate on each line, for zsh and fish with its help after a tab.
func (c *completeCmd) Run(e *env, k *kong.Context) error {
	words := c.Words
	if c.Shell == "bash" {
		words = shellWords(strings.Join(words, " "))
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	found, files := complete(k.Model.Node, words, func(options []string) []string { return ownEventTypes(e.ctx, options) })
	for _, f := range found {
		line := f.word
		if c.Shell != "bash" && f.help != "" {
			line += "\t" + f.help
		}
		fmt.Fprintln(e.stdout, line)
	}
	if files {
		fmt.Fprintln(e.stdout, filesWanted)
	}
	return nil
}

// shellWords splits a line into words as a shell does, as far as completion needs it. The
// first word is the program, and the last one is at the cursor and may be empty.
func shellWords(line string) (words []string) {
	var word strings.Builder
	quote, escaped, begun := rune(0), false, false
	end := func() {
		words = append(words, word.String())
		word.Reset()
		begun = false
	}
	for _, r := range line {
		if quote == 0 && !escaped && strings.ContainsRune(" \t\n", r) {
			if begun {
				end()
			}
			continue
		}
		begun = true
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\' && quote != '\'':
			escaped = true
		case r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		default:
			word.WriteRune(r)
		}
	}
	if end(); len(words) == 1 {
		end()
	}
	return words
}

// candidate is a word with which a command line can go on.
type candidate struct{ word, help string }

// cursor is a place in a command line.
type cursor struct {
	node     *kong.Node // the command so far
	waiting  *kong.Flag // the option whose value comes next
	args     int        // arguments of the command so far
	onlyArgs bool       // after --
	options  []string   // so far, that say which server is called and with which key
}

// complete returns the words that can stand in place of the last one, and whether the name of
// a file can. ownTypes returns the names of a platform's own event types, from the server that
// options choose.
func complete(root *kong.Node, words []string, ownTypes func(options []string) []string) (found []candidate, files bool) {
	at := cursor{node: root}
	for _, w := range words[:len(words)-1] {
		at.pass(w)
	}
	word := words[len(words)-1]
	name, value, assigned := strings.Cut(word, "=")
	switch {
	case at.waiting != nil:
		found, files = at.values(at.waiting.Value, word, ownTypes)
	case !at.onlyArgs && assigned && strings.HasPrefix(word, "--"):
		if f := at.option(name); f != nil {
			found, files = at.values(f.Value, value, ownTypes)
		}
		for i := range found {
			found[i].word = name + "=" + found[i].word
		}
	case !at.onlyArgs && strings.HasPrefix(word, "-"):
		for _, f := range slices.Concat(at.node.AllFlags(true)...) {
			found = append(found, candidate{"--" + f.Name, shortHelp(f.Help)})
		}
	case len(at.node.Children) > 0:
		for _, c := range at.node.Children {
			if !c.Hidden {
				found = append(found, candidate{c.Name, shortHelp(c.Help)})
			}
		}
	default:
		if v := at.argument(); v != nil {
			found, files = at.values(v, word, ownTypes)
		}
	}
	return slices.DeleteFunc(found, func(c candidate) bool { return !strings.HasPrefix(c.word, word) }), files
}

// pass goes on by one word.
func (at *cursor) pass(word string) {
	child := slices.IndexFunc(at.node.Children, func(c *kong.Node) bool { return c.Name == word })
	switch {
	case at.waiting != nil:
		at.note(at.waiting, word)
		at.waiting = nil
	case at.onlyArgs:
		at.args++
	case word == "--":
		at.onlyArgs = true
	case strings.HasPrefix(word, "-"):
		name, value, assigned := strings.Cut(word, "=")
		if f := at.option(name); f != nil && assigned {
			at.note(f, value)
		} else if f != nil && !f.IsBool() {
			at.waiting = f
		}
	case child >= 0:
		at.node = at.node.Children[child]
	default:
		at.args++
	}
}

// note keeps an option that says which server is called and with which key.
func (at *cursor) note(f *kong.Flag, value string) {
	if f.Name == "profile" || f.Tag.Has(profileTag) {
		at.options = append(at.options, "--"+f.Name+"="+value)
	}
}

// option returns the option with a name such as --json or -f; nil when there is none.
func (at *cursor) option(name string) *kong.Flag {
	for _, f := range slices.Concat(at.node.AllFlags(false)...) {
		long, isLong := strings.CutPrefix(name, "--")
		if isLong && (f.Name == long || slices.Contains(f.Aliases, long)) || f.Short != 0 && name == "-"+string(f.Short) {
			return f
		}
	}
	return nil
}

// argument returns the argument that comes next; nil when there is none.
func (at *cursor) argument() *kong.Positional {
	all := at.node.Positional
	if at.args < len(all) {
		return all[at.args]
	}
	if len(all) > 0 && all[len(all)-1].IsCumulative() {
		return all[len(all)-1]
	}
	return nil
}

// values returns the values that an option or an argument can have, as far as they are known, and
// whether it names a file. The server is asked for event types only when the word may become one
// of the platform's own.
func (at *cursor) values(v *kong.Value, word string, ownTypes func(options []string) []string) (found []candidate, files bool) {
	found, files = valuesOf(v)
	known := slices.ContainsFunc(found, func(c candidate) bool { return word != "" && strings.HasPrefix(c.word, word) })
	if v.Name == "event" && !known {
		for _, t := range ownTypes(at.options) {
			found = append(found, candidate{word: t})
		}
	}
	return found, files
}

// typesWithin bounds how long the Tab key waits for the server's event types.
const typesWithin = time.Second

// ownEventTypes asks a server for the names of the platform's own event types. options, variables
// and profiles choose the server and the key, as for any command. Who presses the Tab key reads
// no message, so without a key, without an answer in time, or with one that makes no sense, there
// are no names.
func ownEventTypes(ctx context.Context, options []string) (names []string) {
	parser, err := newParser(&root{}, io.Discard, io.Discard, func(int) {})
	if err != nil {
		return nil
	}
	k, err := parser.Parse(append([]string{"events", "list"}, options...))
	if err != nil {
		return nil
	}
	if _, err := useProfile(k); err != nil {
		return nil
	}
	list, ok := k.Selected().Target.Addr().Interface().(*eventsListCmd)
	if !ok {
		return nil
	}
	api, err := list.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, typesWithin)
	defer cancel()
	all, err := api.EventTypes(ctx)
	if err != nil {
		return nil
	}
	for _, t := range all.Data {
		if callbackd.EventType(t.Type).IsOwn() { // a name of another form could hold characters for the terminal
			names = append(names, t.Type)
		}
	}
	return names
}

// valuesOf returns the values that an option or an argument can have, as far as they are known,
// and whether it names a file.
func valuesOf(v *kong.Value) (found []candidate, files bool) {
	var words []string
	switch {
	case v.Enum != "":
		words = v.EnumSlice()
	case v.Name == "event":
		for _, t := range callbackd.EventTypes {
			words = append(words, string(t))
		}
	case v.Name == "state":
		for _, s := range []callbackd.State{callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled, callbackd.Expired} {
			words = append(words, string(s))
		}
	case v.Name == "profile":
		if folder, err := profile.UserFolder(); err == nil {
			words, _ = folder.Names() // without names there is nothing to complete
		}
	default:
		files = namesFile(v)
	}
	for _, w := range words {
		found = append(found, candidate{word: w})
	}
	return found, files
}

// namesFile reports whether a value is the name of a file or a directory.
func namesFile(v *kong.Value) bool {
	if v.Name == "dir" || slices.Contains(v.Tag.Envs, "CALLBACKD_DATA") {
		return true
	}
	return v.Flag != nil && (v.Flag.PlaceHolder == "FILE" || v.Flag.PlaceHolder == "DIR")
}

// maxShortHelp is the length of a help text in a list of candidates, in bytes.
const maxShortHelp = 70

// shortHelp returns the first sentence of a help text.
func shortHelp(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return strings.TrimSuffix(safetext.Clip(first, maxShortHelp), ".")
}

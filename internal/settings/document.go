package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"callbackd"
	"callbackd/internal/safetext"
	"callbackd/internal/strictjson"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"
)

// Document is a file that a person wrote in YAML or JSON, as JSON, with the lines of its
// members.
type Document struct {
	JSON  []byte
	lines map[string]int // by place, such as keys[0].callbacks[2].url
}

// Parse reads a file. Text that begins with a brace is JSON, and any other is YAML. Members
// that stand twice are errors, because two readers could understand them differently.
func Parse(text []byte) (*Document, error) {
	if len(text) > MaxFile {
		return nil, callbackd.Errorf(callbackd.KindTooLarge, "The file has %d bytes. At most %d are allowed. Split it by account.", len(text), MaxFile)
	}
	d := &Document{lines: map[string]int{}}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return d, d.readJSON(text)
	}
	return d, d.readYAML(text)
}

// lineError is an error with the line where it is.
func lineError(line int, format string, args ...any) error {
	return callbackd.Invalid("line %d: %s", line, fmt.Sprintf(format, args...))
}

// readJSON notes the line of each member.
func (d *Document) readJSON(text []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	for {
		_, err := dec.ReadToken()
		end := dec.InputOffset()
		if wrong, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			end = min(wrong.ByteOffset, int64(len(text)))
		}
		line := 1 + bytes.Count(text[:end], []byte("\n"))
		if err == io.EOF {
			break
		}
		if err != nil {
			return lineError(line, "the file %s.", strings.Replace(err.Error(), "jsontext: ", "is not valid JSON: ", 1))
		}
		place := placeOf(dec)
		if _, noted := d.lines[place]; !noted {
			d.lines[place] = line
		}
	}
	if _, err := strictjson.Object(text); err != nil {
		return callbackd.Invalid("The file %v.", err)
	}
	d.JSON = text
	return nil
}

// placeOf returns the place of what the decoder has just read.
func placeOf(dec *jsontext.Decoder) string {
	place := ""
	for depth := 1; depth <= dec.StackDepth(); depth++ {
		kind, n := dec.StackIndex(depth)
		if n == 0 { // nothing of it was read
			break
		}
		if kind == '[' {
			place = fmt.Sprintf("%s[%d]", place, n-1)
			continue
		}
		names := strings.Split(string(dec.StackPointer()), "/")
		if depth < len(names) {
			place = member(place, strings.NewReplacer("~1", "/", "~0", "~").Replace(names[depth]))
		}
	}
	return place
}

// readYAML turns a document into JSON.
func (d *Document) readYAML(text []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := dec.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return callbackd.Invalid("The file is empty.")
		}
		return callbackd.Invalid("The file is not valid YAML: %s.", strings.TrimPrefix(safetext.Clip(safetext.Escape(err.Error()), 300), "yaml: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return callbackd.Invalid("The file has more than one YAML document. Write one.")
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return callbackd.Invalid("The file must have the members version and keys.")
	}
	return d.write(root.Content[0], "", 0)
}

// maxNesting bounds how deep a YAML document may nest, with what its aliases stand for.
const maxNesting = strictjson.MaxDepth

// write appends a node as JSON. An alias is written out, within the size of a file.
func (d *Document) write(n *yaml.Node, place string, depth int) error {
	if _, noted := d.lines[place]; !noted {
		d.lines[place] = n.Line
	}
	switch {
	case len(d.JSON) > MaxFile:
		return lineError(n.Line, "the file has more than %d bytes when its aliases are written out.", MaxFile)
	case depth > maxNesting:
		return lineError(n.Line, "the file nests deeper than %d levels.", maxNesting)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return d.write(n.Alias, place, depth+1)
	case yaml.MappingNode:
		return d.writeMapping(n, place, depth)
	case yaml.SequenceNode:
		d.JSON = append(d.JSON, '[')
		for i, item := range n.Content {
			if i > 0 {
				d.JSON = append(d.JSON, ',')
			}
			if err := d.write(item, fmt.Sprintf("%s[%d]", place, i), depth+1); err != nil {
				return err
			}
		}
		d.JSON = append(d.JSON, ']')
		return nil
	}
	return d.writeScalar(n)
}

func (d *Document) writeMapping(n *yaml.Node, place string, depth int) error {
	lines := map[string]int{}
	d.JSON = append(d.JSON, '{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge" {
			return lineError(name.Line, "a name must be a text. Merges (<<) are not read.")
		}
		if first, twice := lines[name.Value]; twice {
			return lineError(name.Line, "%q stands twice, first in line %d.", callbackd.Clip(name.Value, 60), first)
		}
		lines[name.Value] = name.Line
		if i > 0 {
			d.JSON = append(d.JSON, ',')
		}
		d.JSON = append(strictjson.AppendString(d.JSON, name.Value), ':')
		inner := member(place, name.Value)
		if _, noted := d.lines[inner]; !noted {
			d.lines[inner] = name.Line
		}
		if err := d.write(n.Content[i+1], inner, depth+1); err != nil {
			return err
		}
	}
	d.JSON = append(d.JSON, '}')
	return nil
}

// jsonNumber matches a number as JSON writes it.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func (d *Document) writeScalar(n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!null":
		d.JSON = append(d.JSON, "null"...)
	case "!!bool":
		word := strings.ToLower(n.Value)
		if word != "true" && word != "false" {
			return lineError(n.Line, "%q is not true or false. Put it in quotation marks if it is a text.", callbackd.Clip(n.Value, 20))
		}
		d.JSON = append(d.JSON, word...)
	case "!!int", "!!float":
		if !jsonNumber.MatchString(n.Value) {
			return lineError(n.Line, "%q is not a number as JSON writes it. Put it in quotation marks if it is a text.", callbackd.Clip(n.Value, 40))
		}
		d.JSON = append(d.JSON, n.Value...)
	case "!!str", "!!timestamp":
		d.JSON = strictjson.AppendString(d.JSON, n.Value)
	default:
		return lineError(n.Line, "the type %s is not read. Write texts, numbers, true, false and null.", callbackd.Clip(n.ShortTag(), 40))
	}
	return nil
}

// Resolve replaces references to variables and files by what lookup returns for them.
func (d *Document) Resolve(env func(name string) (string, error), file func(path string) (string, error)) error {
	out, err := rewriteSecrets(d.JSON, func(place string, v strictjson.Value) (strictjson.Value, error) {
		r, isText, err := readReference(place, v)
		if err != nil || isText || r.Env == "" && r.File == "" {
			if err == nil && r.Value != "" {
				err = callbackd.Invalid(`In %s: a secret must not stand in the file. Write {"env": "NAME"} or {"file": "PATH"}.`, place)
			}
			return v, err
		}
		find, name := env, r.Env
		if r.File != "" {
			find, name = file, r.File
		}
		text, err := find(name)
		if err != nil {
			return nil, callbackd.Invalid("In %s: %v.", place, err)
		}
		return append(strictjson.AppendString([]byte(`{"value":`), text), '}'), nil
	})
	if err != nil {
		return err
	}
	d.JSON = out
	return nil
}

var (
	leadingPlace = regexp.MustCompile(`^[a-z_]+(\[\d+\])?(\.[^:\s]+)?`)
	unknown      = regexp.MustCompile(`Unknown member "([^"]+)"\. (\S+) `)
)

// wholeFile begins a message about a member of the file itself.
const wholeFile = "The settings: "

// Line returns the line that a message is about; 0 when it names none. A message begins with
// a place, and then often with the name of a member.
func (d *Document) Line(message string) int {
	message = strings.TrimPrefix(strings.TrimPrefix(message, "In "), wholeFile)
	place := leadingPlace.FindString(message)
	rest := strings.TrimPrefix(message, place+": ")
	var tries []string
	if m := unknown.FindStringSubmatch(rest); m != nil {
		tries = append(tries, member(member(place, m[2]), m[1]), member(place, m[1]), m[1])
	}
	word, _, _ := strings.Cut(rest, " ")
	for word != "" {
		tries = append(tries, member(place, word))
		word = word[:max(0, strings.LastIndexByte(word, '.'))]
	}
	for place != "" {
		tries = append(tries, place)
		place = place[:max(0, strings.LastIndexAny(place, ".["))]
	}
	for _, try := range tries {
		if line := d.lines[try]; line > 0 {
			return line
		}
	}
	return 0
}

package eventtypes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/safetext"
	"callbackd/wire"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Limits of what is said of an event, and of the numbers that are judged.
const (
	maxFaults    = 3
	maxFaultText = 200
	maxCounted   = 1000
	// maxExponent bounds numbers: a schema is judged with exact numbers, and 1e999999 has a
	// million digits.
	maxExponent = 400
)

// checker checks the data of events of one type.
type checker struct {
	schema *jsonschema.Schema
	// event and session stand in the body that is checked: whether a session key is good
	// is not a question about data.
	event, session any
}

// newChecker returns the checker of a type.
func newChecker(k *wire.EventKind) (*checker, error) {
	schema, err := compile(k.Schema)
	if err != nil {
		return nil, err
	}
	var sample struct {
		Session string `json:"session_key"`
	}
	if err := json.Unmarshal(k.Sample, &sample); err != nil {
		return nil, fmt.Errorf("its sample: %w", err)
	}
	return &checker{schema: schema, event: k.Type, session: sample.Session}, nil
}

// nowhere refuses to load what a schema refers to outside of itself.
type nowhere struct{}

func (nowhere) Load(url string) (any, error) {
	return nil, errors.New("a schema must have all that it refers to in itself, under $defs")
}

// schemaURL names the schema in the compiler; nothing is at this address.
const schemaURL = "schema:event"

// compile compiles a schema. Formats such as date-time are checked too. Patterns are those
// of Go's package regexp, whose time grows only with the length of the text.
func compile(schema []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	if at, found := hugeNumber(doc); found {
		return nil, fmt.Errorf("at %s: the number is too large or too small", pointer(at))
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	return c.Compile(schemaURL)
}

// check returns what is wrong in data.
func (c *checker) check(data []byte) []string {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	body, ok := doc.(map[string]any)
	if err != nil || !ok {
		return []string{"data must be a JSON object."}
	}
	// These two win over members of the data, as in the body that is sent.
	body["event"], body["session_key"] = c.event, c.session
	if at, found := hugeNumber(body); found {
		return []string{sentence(pointer(at), "the number is too large or too small to be checked")}
	}
	err = c.schema.Validate(body)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []string{sentence("", err.Error())}
	}
	return sentences(invalid)
}

// sentences says what is wrong, with the first few places.
func sentences(invalid *jsonschema.ValidationError) []string {
	faults := leaves(nil, invalid)
	many := len(faults) == maxCounted
	slices.Sort(faults)
	faults = slices.Compact(faults)
	switch more := len(faults) - maxFaults; {
	case many:
		return append(faults[:min(len(faults), maxFaults)], "And many more.")
	case more > 0:
		return append(faults[:maxFaults], fmt.Sprintf("And %d more.", more))
	}
	return faults
}

// english prints the library's messages.
var english = message.NewPrinter(language.English)

// leaves appends a sentence for each place that is wrong. An error with causes only repeats
// them. It stops at maxCounted.
func leaves(out []string, e *jsonschema.ValidationError) []string {
	for _, cause := range e.Causes {
		out = leaves(out, cause)
	}
	if len(e.Causes) == 0 && len(out) < maxCounted {
		out = append(out, sentence(pointer(e.InstanceLocation), e.ErrorKind.LocalizedString(english)))
	}
	return out
}

// sentence says what is wrong at a place. Both may have text that a caller chose.
func sentence(at, what string) string {
	if at == "" {
		at = "/"
	}
	return callbackd.Clip(safetext.Line(at), maxFaultText) + ": " + callbackd.Clip(safetext.Line(what), maxFaultText) + "."
}

// pointer writes a place as a JSON Pointer (RFC 6901).
func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteByte('/')
		b.WriteString(escape.Replace(token))
	}
	return b.String()
}

// escape writes a token of a JSON Pointer.
var escape = strings.NewReplacer("~", "~0", "/", "~1")

// hugeNumber returns the place of a number that would take long to judge. ok is false when
// there is none.
func hugeNumber(v any) (place []string, ok bool) {
	switch v := v.(type) {
	case json.Number:
		return nil, hasHugeExponent(string(v))
	case []any:
		for i, item := range v {
			if rest, found := hugeNumber(item); found {
				return append([]string{strconv.Itoa(i)}, rest...), true
			}
		}
	case map[string]any:
		for name, item := range v {
			if rest, found := hugeNumber(item); found {
				return append([]string{name}, rest...), true
			}
		}
	}
	return nil, false
}

func hasHugeExponent(number string) bool {
	i := strings.IndexAny(number, "eE")
	if i < 0 {
		return false
	}
	n, err := strconv.Atoi(strings.TrimPrefix(number[i+1:], "+"))
	return err != nil || n > maxExponent || n < -maxExponent
}

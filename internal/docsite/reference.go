package docsite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// referenceDocument makes the page of the API reference from the OpenAPI document. It writes
// Markdown, so that the reference looks, links and is searched like every other page.
func referenceDocument(openapi []byte) (*document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(openapi, &root); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if len(root.Content) == 0 {
		return nil, fmt.Errorf("the OpenAPI document is empty")
	}
	r := &reference{root: item{root.Content[0]}}
	r.write()
	return parse(referenceName, r.out.Bytes()), nil
}

// item is a value of the document. The zero value is an absent one.
type item struct{ *yaml.Node }

// member is a member of an object.
type member struct {
	name  string
	value item
}

// members returns the members of an object in their order.
func (i item) members() []member {
	if i.Node == nil || i.Kind != yaml.MappingNode {
		return nil
	}
	var out []member
	for n := 0; n+1 < len(i.Content); n += 2 {
		out = append(out, member{i.Content[n].Value, item{i.Content[n+1]}})
	}
	return out
}

// get returns the value at a path of names.
func (i item) get(names ...string) item {
	for _, name := range names {
		var next item
		for _, m := range i.members() {
			if m.name == name {
				next = m.value
			}
		}
		i = next
	}
	return i
}

// list returns the elements of an array.
func (i item) list() []item {
	if i.Node == nil || i.Kind != yaml.SequenceNode {
		return nil
	}
	var out []item
	for _, n := range i.Content {
		out = append(out, item{n})
	}
	return out
}

// text returns a string, number or boolean; of an array, its elements with commas.
func (i item) text() string {
	if i.Node == nil {
		return ""
	}
	if i.Kind == yaml.SequenceNode {
		var out []string
		for _, e := range i.list() {
			out = append(out, e.text())
		}
		return strings.Join(out, ", ")
	}
	return strings.TrimSpace(i.Value)
}

func (i item) has(text string) bool {
	for _, e := range i.list() {
		if e.text() == text {
			return true
		}
	}
	return false
}

type reference struct {
	root item
	out  bytes.Buffer
}

func (r *reference) printf(format string, args ...any) { fmt.Fprintf(&r.out, format, args...) }

// paragraph writes text of the document, which is Markdown.
func (r *reference) paragraph(i item) {
	if t := i.text(); t != "" {
		r.printf("%s\n\n", t)
	}
}

// methods are the members of a path that are operations; others are parameters.
var methods = []string{"get", "post", "put", "patch", "delete"}

func (r *reference) write() {
	r.printf("# API reference\n\nEverything here is also in the OpenAPI document at `GET /openapi.yaml`.\n\n")
	r.paragraph(r.root.get("info", "description"))
	for _, tag := range r.root.get("tags").list() {
		name := tag.get("name").text()
		r.printf("## %s\n\n", strings.ToUpper(name[:1])+name[1:])
		r.paragraph(tag.get("description"))
		for _, path := range r.root.get("paths").members() {
			for _, method := range methods {
				if op := path.value.get(method); op.get("tags").has(name) {
					r.operation(method, path.name, append(path.value.get("parameters").list(), op.get("parameters").list()...), op)
				}
			}
		}
	}
	if hooks := r.root.get("webhooks").members(); len(hooks) > 0 {
		r.printf("## Requests to receivers\n\n")
		for _, h := range hooks {
			r.operation("post", h.name, h.value.get("post", "parameters").list(), h.value.get("post"))
		}
	}
	r.printf("## Schemas\n\n")
	for _, s := range r.root.get("components", "schemas").members() {
		r.printf("### %s\n\n", schemaTitle(s.name))
		r.schema(s.value)
	}
}

func schemaTitle(name string) string { return "Schema " + name }

func (r *reference) operation(method, path string, parameters []item, op item) {
	r.printf("### %s %s\n\n", strings.ToUpper(method), path)
	r.paragraph(op.get("summary"))
	r.paragraph(op.get("description"))
	if len(parameters) > 0 {
		r.printf("| parameter | in | |\n|---|---|---|\n")
		for _, p := range parameters {
			p = r.resolve(p)
			r.printf("| `%s` | %s | %s |\n", p.get("name").text(), p.get("in").text(), cell(r.described(p, p.get("schema"), p.get("required").text() == "true")))
		}
		r.printf("\n")
	}
	if body := r.resolve(op.get("requestBody")); body.Node != nil {
		for _, c := range body.get("content").members() {
			r.printf("Body: `%s`.\n\n", c.name)
			r.schema(c.value.get("schema"))
			r.examples(c.value)
		}
	}
	r.printf("| status | |\n|---|---|\n")
	var shown []item
	for _, a := range op.get("responses").members() {
		answer := r.resolve(a.value)
		r.printf("| %s | %s |\n", a.name, cell(answer.get("description").text()+r.bodyOf(answer)))
		if strings.HasPrefix(a.name, "2") {
			shown = append(shown, answer)
		}
	}
	r.printf("\n")
	for _, answer := range shown {
		for _, c := range answer.get("content").members() {
			r.examples(c.value)
		}
	}
}

// bodyOf names the schema of an answer's body.
func (r *reference) bodyOf(answer item) string {
	for _, c := range answer.get("content").members() {
		if t := r.typeOf(c.value.get("schema")); t != "" {
			return " Body: " + t + "."
		}
	}
	return ""
}

// resolve follows a reference.
func (r *reference) resolve(i item) item {
	if ref := i.get("$ref").text(); ref != "" {
		return r.root.get(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return i
}

// cell makes text fit into a cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// schema writes the members of an object, or what else a value may be.
func (r *reference) schema(s item) {
	if s.Node == nil {
		return
	}
	if ref := s.get("$ref").text(); ref != "" {
		r.printf("%s\n\n", r.typeOf(s))
		return
	}
	if t := r.described(item{}, s, false); t != "" {
		r.printf("%s\n\n", t)
	}
	r.properties(s, 0)
	r.printf("\n")
}

// maxNesting is how deep members of members are shown.
const maxNesting = 6

func (r *reference) properties(s item, depth int) {
	if depth > maxNesting {
		return
	}
	for _, part := range append(s.get("allOf").list(), append(s.get("oneOf").list(), s.get("anyOf").list()...)...) {
		r.properties(part, depth)
	}
	if items := s.get("items"); items.Node != nil {
		r.properties(items, depth)
	}
	required := s.get("required")
	for _, m := range s.get("properties").members() {
		r.printf("%s- `%s`: %s\n", strings.Repeat("  ", depth), m.name, strings.Join(strings.Fields(r.described(item{}, m.value, required.has(m.name))), " "))
		r.properties(m.value, depth+1)
	}
}

// described says in one line what a value is. holder is a parameter, which describes its
// value.
func (r *reference) described(holder, s item, required bool) string {
	var parts []string
	if t := r.typeOf(s); t != "" {
		parts = append(parts, t)
	}
	if required {
		parts = append(parts, "required")
	}
	for _, limit := range []struct{ name, text string }{
		{"format", "%s"}, {"default", "default %s"}, {"enum", "one of %s"}, {"const", "always %s"}, {"minimum", "at least %s"}, {"maximum", "at most %s"},
		{"minLength", "%s characters or more"}, {"maxLength", "%s characters or fewer"}, {"minItems", "%s elements or more"}, {"maxItems", "%s elements or fewer"},
		{"maxProperties", "%s members or fewer"}, {"pattern", "pattern `%s`"},
	} {
		if v := s.get(limit.name).text(); v != "" {
			parts = append(parts, fmt.Sprintf(limit.text, v))
		}
	}
	out := strings.Join(parts, ", ")
	for _, d := range []item{holder.get("description"), s.get("description")} {
		if t := d.text(); t != "" {
			out = strings.TrimPrefix(out+". "+t, ". ")
		}
	}
	return out
}

// typeOf names the type of a value, with a link when it has a schema of its own.
func (r *reference) typeOf(s item) string {
	if ref := s.get("$ref").text(); ref != "" {
		name := ref[strings.LastIndex(ref, "/")+1:]
		return fmt.Sprintf("[%s](#%s)", name, (&anchors{seen: map[string]int{}}).Generate([]byte(schemaTitle(name)), 0))
	}
	t := strings.ReplaceAll(s.get("type").text(), ", ", " or ")
	if items := s.get("items"); items.Node != nil {
		if of := r.typeOf(items); of != "" {
			t += " of " + of
		}
	}
	var choices []string
	for _, c := range append(s.get("oneOf").list(), s.get("anyOf").list()...) {
		if of := r.typeOf(c); of != "" {
			choices = append(choices, of)
		}
	}
	if t == "" {
		t = strings.Join(choices, " or ")
	}
	return t
}

// examples writes the examples of a body as JSON.
func (r *reference) examples(content item) {
	all := content.get("examples").members()
	if e := content.get("example"); e.Node != nil {
		all = append(all, member{value: e})
	}
	for _, e := range all {
		e.value = r.resolve(e.value)
		value := e.value
		if v := value.get("value"); e.name != "" && v.Node != nil {
			value = v
		}
		if raw, err := indented(value); err == nil {
			r.printf("```json\n%s\n```\n\n", raw)
		}
	}
}

// indented returns a value as JSON, with its members in their order.
func indented(i item) ([]byte, error) {
	var compact, out bytes.Buffer
	if err := writeJSON(&compact, i); err != nil {
		return nil, err
	}
	err := json.Indent(&out, compact.Bytes(), "", "  ")
	return out.Bytes(), err
}

func writeJSON(out *bytes.Buffer, i item) error {
	switch i.Kind {
	case yaml.MappingNode:
		out.WriteByte('{')
		for n, m := range i.members() {
			if n > 0 {
				out.WriteByte(',')
			}
			name, _ := json.Marshal(m.name) // of a string: no error
			out.Write(name)
			out.WriteByte(':')
			if err := writeJSON(out, m.value); err != nil {
				return err
			}
		}
		out.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		out.WriteByte('[')
		for n, e := range i.list() {
			if n > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, e); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	}
	var v any
	if err := i.Decode(&v); err != nil {
		return err
	}
	if i.Tag == "!!timestamp" {
		v = i.Value
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

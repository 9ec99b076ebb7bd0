package docsite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"callbackd/internal/openapi"
)

// referenceDocument makes the page of the API reference from the OpenAPI document. It writes
// Markdown, so that the reference looks, links and is searched like every other page.
func referenceDocument(document []byte) (*document, error) {
	root, err := openapi.Parse(document)
	if err != nil {
		return nil, err
	}
	r := &reference{root: root}
	r.write()
	return parse(referenceName, r.out.Bytes()), nil
}

type reference struct {
	root openapi.Value
	out  bytes.Buffer
}

func (r *reference) printf(format string, args ...any) { fmt.Fprintf(&r.out, format, args...) }

// paragraph writes text of the document, which is Markdown.
func (r *reference) paragraph(i openapi.Value) {
	if t := i.Text(); t != "" {
		r.printf("%s\n\n", t)
	}
}

// methods are the members of a path that are operations; others are parameters.
var methods = []string{"get", "post", "put", "patch", "delete"}

func (r *reference) write() {
	r.printf("# API reference\n\nEverything here is also in the OpenAPI document at `GET /openapi.yaml`.\n\n")
	r.paragraph(r.root.Get("info", "description"))
	for _, tag := range r.root.Get("tags").List() {
		name := tag.Get("name").Text()
		r.printf("## %s\n\n", strings.ToUpper(name[:1])+name[1:])
		r.paragraph(tag.Get("description"))
		for _, path := range r.root.Get("paths").Members() {
			for _, method := range methods {
				if op := path.Value.Get(method); op.Get("tags").Has(name) {
					r.operation(method, path.Name, append(path.Value.Get("parameters").List(), op.Get("parameters").List()...), op)
				}
			}
		}
	}
	if hooks := r.root.Get("webhooks").Members(); len(hooks) > 0 {
		r.printf("## Requests to receivers\n\n")
		for _, h := range hooks {
			r.operation("post", h.Name, h.Value.Get("post", "parameters").List(), h.Value.Get("post"))
		}
	}
	r.printf("## Schemas\n\n")
	for _, s := range r.root.Get("components", "schemas").Members() {
		r.printf("### %s\n\n", schemaTitle(s.Name))
		r.schema(s.Value)
	}
}

func schemaTitle(name string) string { return "Schema " + name }

func (r *reference) operation(method, path string, parameters []openapi.Value, op openapi.Value) {
	r.printf("### %s %s\n\n", strings.ToUpper(method), path)
	r.paragraph(op.Get("summary"))
	r.paragraph(op.Get("description"))
	if len(parameters) > 0 {
		r.printf("| parameter | in | |\n|---|---|---|\n")
		for _, p := range parameters {
			p = p.Follow(r.root)
			r.printf("| `%s` | %s | %s |\n", p.Get("name").Text(), p.Get("in").Text(), cell(r.described(p, p.Get("schema"), p.Get("required").Text() == "true")))
		}
		r.printf("\n")
	}
	if body := op.Get("requestBody").Follow(r.root); body.Exists() {
		for _, c := range body.Get("content").Members() {
			r.printf("Body: `%s`.\n\n", c.Name)
			r.schema(c.Value.Get("schema"))
			r.examples(c.Value)
		}
	}
	r.printf("| status | |\n|---|---|\n")
	var shown []openapi.Value
	for _, a := range op.Get("responses").Members() {
		answer := a.Value.Follow(r.root)
		r.printf("| %s | %s |\n", a.Name, cell(answer.Get("description").Text()+r.bodyOf(answer)))
		if strings.HasPrefix(a.Name, "2") {
			shown = append(shown, answer)
		}
	}
	r.printf("\n")
	for _, answer := range shown {
		for _, c := range answer.Get("content").Members() {
			r.examples(c.Value)
		}
	}
}

// bodyOf names the schema of an answer's body.
func (r *reference) bodyOf(answer openapi.Value) string {
	for _, c := range answer.Get("content").Members() {
		if t := r.typeOf(c.Value.Get("schema")); t != "" {
			return " Body: " + t + "."
		}
	}
	return ""
}

// cell makes text fit into a cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// schema writes the members of an object, or what else a value may be.
func (r *reference) schema(s openapi.Value) {
	if !s.Exists() {
		return
	}
	if ref := s.Get("$ref").Text(); ref != "" {
		r.printf("%s\n\n", r.typeOf(s))
		return
	}
	if t := r.described(openapi.Value{}, s, false); t != "" {
		r.printf("%s\n\n", t)
	}
	r.properties(s, 0)
	r.printf("\n")
}

// maxNesting is how deep members of members are shown.
const maxNesting = 6

func (r *reference) properties(s openapi.Value, depth int) {
	if depth > maxNesting {
		return
	}
	for _, part := range append(s.Get("allOf").List(), append(s.Get("oneOf").List(), s.Get("anyOf").List()...)...) {
		r.properties(part, depth)
	}
	if items := s.Get("items"); items.Exists() {
		r.properties(items, depth)
	}
	required := s.Get("required")
	for _, m := range s.Get("properties").Members() {
		r.printf("%s- `%s`: %s\n", strings.Repeat("  ", depth), m.Name, strings.Join(strings.Fields(r.described(openapi.Value{}, m.Value, required.Has(m.Name))), " "))
		r.properties(m.Value, depth+1)
	}
}

// described says in one line what a value is. holder is a parameter, which describes its
// value.
func (r *reference) described(holder, s openapi.Value, required bool) string {
	var parts []string
	if t := r.typeOf(s); t != "" {
		parts = append(parts, t)
	}
	if required {
		parts = append(parts, "required")
	}
	for _, limit := range []struct{ name, text string }{
		{"format", "%s"}, {"default", "default %s"}, {"enum", "one of %s"}, {"const", "always %s"}, {"minimum", "at least %s"}, {"maximum", "at most %s"},
	} {
		if v := s.Get(limit.name).Text(); v != "" {
			parts = append(parts, fmt.Sprintf(limit.text, v))
		}
	}
	for _, of := range []struct{ least, most, what string }{{"minLength", "maxLength", "characters"}, {"minItems", "maxItems", "elements"}, {"minProperties", "maxProperties", "members"}} {
		if t := bounds(s.Get(of.least).Text(), s.Get(of.most).Text(), of.what); t != "" {
			parts = append(parts, t)
		}
	}
	if v := s.Get("pattern").Text(); v != "" {
		parts = append(parts, "pattern `"+v+"`")
	}
	out := strings.Join(parts, ", ")
	for _, d := range []openapi.Value{holder.Get("description"), s.Get("description")} {
		if t := d.Text(); t != "" {
			out = strings.TrimPrefix(out+". "+t, ". ")
		}
	}
	return out
}

// bounds says how many of something a value may have; both limits may be empty.
func bounds(least, most, what string) string {
	switch {
	case least == "" && most == "":
		return ""
	case most == "":
		return "at least " + least + " " + what
	case least == "":
		return "at most " + most + " " + what
	case least == most:
		return most + " " + what
	}
	return least + " to " + most + " " + what
}

// typeOf names the type of a value, with a link when it has a schema of its own.
func (r *reference) typeOf(s openapi.Value) string {
	if ref := s.Get("$ref").Text(); ref != "" {
		name := ref[strings.LastIndex(ref, "/")+1:]
		return fmt.Sprintf("[%s](#%s)", name, (&anchors{seen: map[string]int{}}).Generate([]byte(schemaTitle(name)), 0))
	}
	t := strings.ReplaceAll(s.Get("type").Text(), ", ", " or ")
	if items := s.Get("items"); items.Exists() {
		if of := r.typeOf(items); of != "" {
			t += " of " + of
		}
	}
	var choices []string
	for _, c := range append(s.Get("oneOf").List(), s.Get("anyOf").List()...) {
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
func (r *reference) examples(content openapi.Value) {
	all := content.Get("examples").Members()
	if e := content.Get("example"); e.Exists() {
		all = append(all, openapi.Member{Value: e})
	}
	for _, e := range all {
		e.Value = e.Value.Follow(r.root)
		value := e.Value
		if v := value.Get("value"); e.Name != "" && v.Exists() {
			value = v
		}
		if raw, err := indented(value); err == nil {
			r.printf("```json\n%s\n```\n\n", raw)
		}
	}
}

// indented returns a value as JSON for people.
func indented(v openapi.Value) ([]byte, error) {
	raw, err := v.JSON()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, raw, "", "  ")
	return out.Bytes(), err
}

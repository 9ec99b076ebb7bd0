package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"callbackd/internal/openapi"
)

// pythonFile writes the module of the client for Python.
type pythonFile struct {
	strings.Builder
	aliases []alias
}

// alias is another name of a type. All are written behind the classes: Python reads them
// when it loads the module.
type alias struct{ name, typ, about string }

// keywords are names of members that a class cannot have in Python.
var keywords = strings.Fields("and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield None True False")

// python returns the types and the methods of the client for Python.
func python(doc *document) string {
	f := &pythonFile{}
	f.WriteString("#" + made + "# ruff: noqa: E501\nfrom __future__ import annotations\n\nimport typing as t\n\nfrom ._transport import ServerSentEvent, Transport, escape\n")
	for _, s := range doc.schemas {
		f.schema(s.Name, s.Value)
	}
	f.aliases = append(f.aliases, alias{"ReceivedEvent", strings.Join(doc.received, " | "), "The body of a request that a receiver gets."})
	f.writeAliases()
	f.WriteString("\n\nclass Client(Transport):\n    \"\"\"Calls callbackd's HTTP API. It has a method for each operation.\"\"\"\n")
	for _, op := range doc.operations {
		f.method(op)
	}
	return f.String()
}

func (f *pythonFile) schema(name string, v openapi.Value) {
	if kinds, null := types(v); v.Get("properties").Exists() && len(kinds) == 1 && !null {
		f.object(name, v)
		return
	}
	if base := v.Get("allOf").List(); len(base) == 1 && v.Get("required").Exists() {
		// A type checker lets no subclass require a member that its base does not: the base
		// is the type.
		f.aliases = append(f.aliases, alias{name, f.typ(base[0], name), "Its required members: " + v.Get("required").Text() + "."})
		return
	}
	f.aliases = append(f.aliases, alias{name, f.typ(v, name+"Object"), about(v)})
}

// writeAliases writes each alias behind those that it names.
func (f *pythonFile) writeAliases() {
	f.WriteString("\n")
	left := f.aliases
	for len(left) > 0 {
		next := 0
		for i, a := range left {
			if !slices.ContainsFunc(left, func(b alias) bool { return names(a.typ, b.name) }) {
				next = i
				break
			}
		}
		a := left[next]
		left = slices.Delete(left, next, next+1)
		if a.about != "" {
			f.WriteString("# " + a.about + "\n")
		}
		fmt.Fprintf(f, "%s: t.TypeAlias = %s\n", a.name, a.typ)
	}
}

// names reports whether a type has another one in it.
func names(typ, other string) bool {
	return slices.Contains(strings.FieldsFunc(typ, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '"' && r != '_' }), other)
}

// object writes a class for an object. Objects inside of it get classes before it.
func (f *pythonFile) object(name string, v openapi.Value) {
	inner := &pythonFile{}
	var members []string
	odd := false
	for _, p := range v.Get("properties").Members() {
		typ := inner.typ(p.Value, name+camel(p.Name))
		if !v.Get("required").Has(p.Name) {
			typ = "t.NotRequired[" + typ + "]"
		}
		odd = odd || slices.Contains(keywords, p.Name) || !identifier.MatchString(p.Name)
		members = append(members, p.Name, typ, about(p.Value))
	}
	f.WriteString(inner.String())
	if odd {
		fmt.Fprintf(f, "\n\n%s = t.TypedDict(\n    %q,\n    {\n", name, name)
	} else {
		fmt.Fprintf(f, "\n\nclass %s(t.TypedDict):\n", name)
		if text := about(v); text != "" {
			fmt.Fprintf(f, "    %s\n\n", docstring(text))
		}
		if len(members) == 0 {
			f.WriteString("    pass\n")
		}
	}
	for i := 0; i < len(members); i += 3 {
		indent := "    "
		if odd {
			indent = "        "
		}
		if members[i+2] != "" {
			f.WriteString(indent + "# " + members[i+2] + "\n")
		}
		if odd {
			fmt.Fprintf(f, "%s%q: %q,\n", indent, members[i], members[i+1])
		} else {
			fmt.Fprintf(f, "%s%s: %s\n", indent, members[i], members[i+1])
		}
	}
	if odd {
		f.WriteString("    },\n)\n")
	}
	f.WriteString("\n")
}

// typ returns the type of a schema; name is that of a class that it may need.
func (f *pythonFile) typ(v openapi.Value, name string) string {
	if ref := reference(v); ref != "" {
		return ref
	}
	for _, word := range []string{"oneOf", "allOf"} {
		if of := v.Get(word).List(); of != nil {
			var out []string
			for _, one := range of {
				out = append(out, f.typ(one, name))
			}
			return strings.Join(out, " | ")
		}
	}
	if c := v.Get("const"); c.Exists() {
		return pyLiteral([]openapi.Value{c})
	}
	if enum := v.Get("enum").List(); enum != nil {
		return pyLiteral(enum)
	}
	kinds, null := types(v)
	if len(kinds) == 0 {
		return "t.Any"
	}
	var out []string
	for _, kind := range kinds {
		out = append(out, f.kind(v, kind, name))
	}
	if null {
		out = append(out, "None")
	}
	return strings.Join(out, " | ")
}

func (f *pythonFile) kind(v openapi.Value, kind, name string) string {
	switch kind {
	case "array":
		return "list[" + f.typ(v.Get("items"), name) + "]"
	case "object":
		if v.Get("properties").Exists() {
			f.object(name, v)
			return name
		}
		if more := v.Get("additionalProperties"); more.Members() != nil {
			return "dict[str, " + f.typ(more, name) + "]"
		}
		return "dict[str, t.Any]"
	}
	return map[string]string{"string": "str", "integer": "int", "number": "float", "boolean": "bool"}[kind]
}

// pyLiteral returns the type of some constants.
func pyLiteral(list []openapi.Value) string {
	var out []string
	for _, v := range list {
		text := literal(v)
		if name, ok := map[string]string{"true": "True", "false": "False", "null": "None"}[text]; ok {
			text = name
		}
		out = append(out, text)
	}
	return "t.Literal[" + strings.Join(out, ", ") + "]"
}

func (f *pythonFile) method(op operation) {
	in, more, path := []string{"self"}, []string{}, op.path
	for _, p := range op.inPath {
		in = append(in, p.name+": "+f.typ(p.schema, ""))
		path = strings.ReplaceAll(path, "{"+p.name+"}", "{escape("+p.name+")}")
	}
	prefix := ""
	if strings.Contains(path, "{") {
		prefix = "f"
	}
	call := []string{strconv.Quote(op.method), prefix + strconv.Quote(path), strconv.Quote(snake(op.auth))}
	if op.body.Exists() {
		end := ""
		if !op.bodyRequired {
			end = " | None = None"
		}
		in = append(in, "body: "+f.bodyType(op)+end)
		call = append(call, "body=body")
	}
	if len(op.query) > 0 {
		var q []string
		for _, p := range op.query {
			more = append(more, p.name+": "+f.typ(p.schema, "")+" | None = None")
			q = append(q, fmt.Sprintf("%q: %s", p.name, p.name))
		}
		call = append(call, "query={"+strings.Join(q, ", ")+"}")
	}
	if op.idempotency {
		more = append(more, "idempotency_key: str | None = None")
		call = append(call, "idempotency_key=idempotency_key")
	}
	if len(more) > 0 {
		in = append(append(in, "*"), more...)
	}
	out, send := "str", "_text"
	switch op.kind {
	case "json":
		var types []string
		for _, a := range op.answers {
			types = append(types, f.typ(a, ""))
		}
		out, send = strings.Join(types, " | "), "_json"
	case "stream":
		out, send = "t.Iterator[ServerSentEvent]", "_stream"
	}
	fmt.Fprintf(f, "\n    def %s(%s) -> %s:\n        %s\n        return self.%s(%s)\n",
		snake(op.id), strings.Join(in, ", "), out, docstring(op.summary+" "+op.method+" "+op.path), send, strings.Join(call, ", "))
}

// bodyType returns the type of a body. One that has no name of its own is any object.
func (f *pythonFile) bodyType(op operation) string {
	if reference(op.body) == "" {
		return "dict[str, t.Any]"
	}
	return f.typ(op.body, "")
}

func docstring(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, "'")
	return `"""` + text + `"""`
}

// snake returns a name such as reportSMS as report_sms.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(rune(name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// camel returns a name with its words joined, each with a capital letter.
func camel(name string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

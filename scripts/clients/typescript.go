package main

import (
	"fmt"
	"strconv"
	"strings"

	"callbackd/internal/openapi"
)

// made is at the top of each generated file, after the mark of a comment.
const made = " Code generated from openapi.yaml by scripts/clients. DO NOT EDIT.\n"

// typeScript returns the types and the methods of the client for TypeScript.
func typeScript(doc *document) string {
	var b strings.Builder
	b.WriteString("//" + made + "\nimport { type CallOptions, escape, type ServerSentEvent, Transport } from './transport.js';\n")
	for _, s := range doc.schemas {
		b.WriteString("\n" + tsComment("", about(s.Value)))
		if kinds, null := types(s.Value); s.Value.Get("properties").Exists() && len(kinds) == 1 && !null {
			fmt.Fprintf(&b, "export interface %s %s\n", s.Name, tsObject(s.Value, ""))
		} else {
			fmt.Fprintf(&b, "export type %s = %s;\n", s.Name, tsType(s.Value, ""))
		}
	}
	fmt.Fprintf(&b, "\n/** The body of a request that a receiver gets. */\nexport type ReceivedEvent = %s;\n", strings.Join(doc.received, " | "))
	b.WriteString("\n/** Calls callbackd's HTTP API. It has a method for each operation. */\nexport class Client extends Transport {")
	for i, op := range doc.operations {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString("\n" + tsMethod(op))
	}
	b.WriteString("}\n")
	return b.String()
}

func tsMethod(op operation) string {
	var in, call []string
	path := op.path
	for _, p := range op.inPath {
		in = append(in, p.name+": "+tsType(p.schema, ""))
		path = strings.ReplaceAll(path, "{"+p.name+"}", "${escape("+p.name+")}")
	}
	if strings.Contains(path, "$") {
		path = "`" + path + "`"
	} else {
		path = "'" + path + "'"
	}
	call = append(call, "method: '"+op.method+"'", "path: "+path, "auth: '"+op.auth+"'")
	if op.body.Exists() {
		mark := ": "
		if !op.bodyRequired {
			mark = "?: "
		}
		in = append(in, "body"+mark+tsType(op.body, ""))
		call = append(call, "body")
	}
	if len(op.query) > 0 {
		var q []string
		for _, p := range op.query {
			q = append(q, p.name+"?: "+tsType(p.schema, ""))
		}
		in = append(in, "query: { "+strings.Join(q, "; ")+" } = {}")
		call = append(call, "query")
	}
	in = append(in, "options: CallOptions = {}")
	out, send := "Promise<string>", "text"
	switch op.kind {
	case "json":
		var types []string
		for _, a := range op.answers {
			types = append(types, tsType(a, ""))
		}
		out, send = "Promise<"+strings.Join(types, " | ")+">", "json"
	case "stream":
		out, send = "AsyncGenerator<ServerSentEvent>", "stream"
	}
	return tsComment("  ", op.summary+" "+op.method+" "+op.path) +
		fmt.Sprintf("  %s(%s): %s {\n    return this.%s({ %s }, options);\n  }\n", op.id, strings.Join(in, ", "), out, send, strings.Join(call, ", "))
}

// tsType returns the type of a schema. indent is that of the line on which it begins.
func tsType(v openapi.Value, indent string) string {
	if name := reference(v); name != "" {
		return name
	}
	if of := v.Get("oneOf").List(); of != nil {
		return tsJoin(of, indent, " | ")
	}
	if of := v.Get("allOf").List(); of != nil {
		out := tsJoin(of, indent, " & ")
		if required := v.Get("required").List(); required != nil {
			out += " & Required<Pick<" + out + ", " + literals(required, " | ") + ">>"
		}
		return out
	}
	if c := v.Get("const"); c.Exists() {
		return literal(c)
	}
	kinds, null := types(v)
	var out []string
	if enum := v.Get("enum").List(); enum != nil {
		out = append(out, literals(enum, " | "))
	} else if len(kinds) == 0 {
		return "unknown"
	} else {
		for _, kind := range kinds {
			out = append(out, tsKind(v, kind, indent))
		}
		if null {
			out = append(out, "null")
		}
	}
	return strings.Join(out, " | ")
}

func tsKind(v openapi.Value, kind, indent string) string {
	switch kind {
	case "integer":
		return "number"
	case "array":
		return "Array<" + tsType(v.Get("items"), indent) + ">"
	case "object":
		if v.Get("properties").Exists() {
			return tsObject(v, indent)
		}
		if more := v.Get("additionalProperties"); more.Members() != nil {
			return "Record<string, " + tsType(more, indent) + ">"
		}
		return "Record<string, unknown>"
	}
	return kind
}

func tsObject(v openapi.Value, indent string) string {
	var b strings.Builder
	b.WriteString("{\n")
	for _, p := range v.Get("properties").Members() {
		name, mark := p.Name, "?"
		if !identifier.MatchString(name) {
			name = strconv.Quote(name)
		}
		if v.Get("required").Has(p.Name) {
			mark = ""
		}
		b.WriteString(tsComment(indent+"  ", about(p.Value)))
		fmt.Fprintf(&b, "%s  %s%s: %s;\n", indent, name, mark, tsType(p.Value, indent+"  "))
	}
	if more := v.Get("additionalProperties"); more.Text() == "true" || more.Members() != nil {
		b.WriteString(indent + "  [member: string]: unknown;\n")
	}
	b.WriteString(indent + "}")
	return b.String()
}

func tsJoin(list []openapi.Value, indent, by string) string {
	var out []string
	for _, v := range list {
		out = append(out, tsType(v, indent))
	}
	return strings.Join(out, by)
}

// literal returns a constant as both languages write it.
func literal(v openapi.Value) string {
	raw, err := v.JSON()
	if err != nil {
		return strconv.Quote(v.Text())
	}
	return string(raw)
}

func literals(list []openapi.Value, by string) string {
	var out []string
	for _, v := range list {
		out = append(out, literal(v))
	}
	return strings.Join(out, by)
}

func tsComment(indent, text string) string {
	if text == "" {
		return ""
	}
	return indent + "/** " + strings.ReplaceAll(text, "*/", "* /") + " */\n"
}

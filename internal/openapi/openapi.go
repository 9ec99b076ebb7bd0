// Package openapi reads the API's document with its members in their order.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Value is a value of the document. The zero Value is an absent one.
type Value struct{ node *yaml.Node }

// Member is a member of an object.
type Member struct {
	Name  string
	Value Value
}

// Parse reads a document.
func Parse(document []byte) (Value, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		return Value{}, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if len(root.Content) == 0 {
		return Value{}, fmt.Errorf("the OpenAPI document is empty")
	}
	return Value{root.Content[0]}, nil
}

// Exists reports whether the value is there.
func (v Value) Exists() bool { return v.node != nil }

// Members returns the members of an object in their order.
func (v Value) Members() []Member {
	if v.node == nil || v.node.Kind != yaml.MappingNode {
		return nil
	}
	var out []Member
	for n := 0; n+1 < len(v.node.Content); n += 2 {
		out = append(out, Member{v.node.Content[n].Value, Value{v.node.Content[n+1]}})
	}
	return out
}

// Get returns the value at a path of names.
func (v Value) Get(names ...string) Value {
	for _, name := range names {
		var next Value
		for _, m := range v.Members() {
			if m.Name == name {
				next = m.Value
			}
		}
		v = next
	}
	return v
}

// Follow returns what v refers to in the document root; v when it is no reference.
func (v Value) Follow(root Value) Value {
	if ref := v.Get("$ref").Text(); ref != "" {
		return root.Get(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return v
}

// List returns the elements of an array.
func (v Value) List() []Value {
	if v.node == nil || v.node.Kind != yaml.SequenceNode {
		return nil
	}
	var out []Value
	for _, n := range v.node.Content {
		out = append(out, Value{n})
	}
	return out
}

// Text returns a string, number or boolean; of an array, its elements with commas.
func (v Value) Text() string {
	if v.node == nil {
		return ""
	}
	if v.node.Kind == yaml.SequenceNode {
		var out []string
		for _, e := range v.List() {
			out = append(out, e.Text())
		}
		return strings.Join(out, ", ")
	}
	return strings.TrimSpace(v.node.Value)
}

// Has reports whether an array has an element of this text.
func (v Value) Has(text string) bool {
	return slices.ContainsFunc(v.List(), func(e Value) bool { return e.Text() == text })
}

// JSON returns the value as JSON, with members in their order.
func (v Value) JSON() ([]byte, error) {
	w := writer{ref: func(to string) string { return to }}
	err := w.write(v)
	return w.out.Bytes(), err
}

// schemas is where references to schemas begin.
const schemas = "#/components/schemas/"

// Schema returns a schema of the document root as one that stands alone: JSON Schema
// 2020-12, with the schemas that it refers to in $defs.
func (v Value) Schema(root Value) ([]byte, error) {
	needed, done := map[string]bool{}, map[string][]byte{}
	w := func(v Value) ([]byte, error) {
		w := writer{ref: func(to string) string {
			name := strings.TrimPrefix(to, schemas)
			needed[name] = true
			return "#/$defs/" + name
		}}
		err := w.write(v)
		return w.out.Bytes(), err
	}
	out, err := w(v.Follow(root))
	for err == nil && len(done) < len(needed) {
		for name := range maps.Clone(needed) {
			if _, ok := done[name]; !ok && err == nil {
				done[name], err = w(root.Get("components", "schemas", name))
			}
		}
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`{"$schema":"https://json-schema.org/draft/2020-12/schema",`)
	b.Write(bytes.TrimSuffix(bytes.TrimPrefix(out, []byte("{")), []byte("}")))
	for i, name := range slices.Sorted(maps.Keys(done)) {
		b.WriteString([]string{`,"$defs":{`, ","}[min(i, 1)])
		fmt.Fprintf(&b, "%q:%s", name, done[name])
	}
	if len(done) > 0 {
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// writer writes values as JSON. ref changes references.
type writer struct {
	out bytes.Buffer
	ref func(to string) string
}

func (w *writer) write(v Value) error {
	if v.node == nil {
		return fmt.Errorf("the document has a reference to what it does not have")
	}
	switch v.node.Kind {
	case yaml.MappingNode:
		return w.object(v)
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for n, e := range v.List() {
			if n > 0 {
				w.out.WriteByte(',')
			}
			if err := w.write(e); err != nil {
				return err
			}
		}
		w.out.WriteByte(']')
		return nil
	}
	var value any
	if err := v.node.Decode(&value); err != nil {
		return err
	}
	if v.node.Tag == "!!timestamp" {
		value = v.node.Value
	}
	return w.scalar(value)
}

func (w *writer) object(v Value) error {
	w.out.WriteByte('{')
	for n, m := range v.Members() {
		if n > 0 {
			w.out.WriteByte(',')
		}
		if err := w.scalar(m.Name); err != nil {
			return err
		}
		w.out.WriteByte(':')
		var err error
		if m.Name == "$ref" {
			err = w.scalar(w.ref(m.Value.Text()))
		} else {
			err = w.write(m.Value)
		}
		if err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

func (w *writer) scalar(value any) error {
	encoder := json.NewEncoder(&w.out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	w.out.Truncate(w.out.Len() - 1) // the line feed of Encode
	return nil
}

package settings

import (
	"bytes"
	"fmt"

	"callbackd/internal/safetext"
	"callbackd/internal/strictjson"

	"go.yaml.in/yaml/v4"
)

// YAML returns JSON as YAML, with the members in their order.
func YAML(text []byte) ([]byte, error) {
	root, err := yamlNode(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), enc.Close()
}

func yamlNode(v strictjson.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: string(v)}
	switch v.Kind() {
	case '{':
		return yamlMapping(v)
	case '[':
		return yamlSequence(v)
	case '"':
		n.Tag = "!!str"
		n.Value, _ = v.Text()
		if !safetext.IsVisible(n.Value) {
			n.Style = yaml.DoubleQuotedStyle
		}
	case '0':
		n.Tag = "!!float"
		if !bytes.ContainsAny(v, ".eE") {
			n.Tag = "!!int"
		}
	case 'n':
		n.Tag = "!!null"
	default:
		n.Tag = "!!bool"
	}
	return n, nil
}

// yamlMapping writes an object of few scalars in one line, such as a reference.
func yamlMapping(v strictjson.Value) (*yaml.Node, error) {
	members, err := strictjson.Object(v)
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	short := len(members) <= 1
	for _, m := range members {
		name, err := yamlNode(strictjson.AppendString(nil, m.Name))
		if err != nil {
			return nil, err
		}
		inner, err := yamlNode(m.Value)
		if err != nil {
			return nil, err
		}
		short = short && inner.Kind == yaml.ScalarNode
		n.Content = append(n.Content, name, inner)
	}
	if short {
		n.Style = yaml.FlowStyle
	}
	return n, nil
}

func yamlSequence(v strictjson.Value) (*yaml.Node, error) {
	items, err := strictjson.Array(v)
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	short := true
	for _, item := range items {
		inner, err := yamlNode(item)
		if err != nil {
			return nil, err
		}
		short = short && inner.Kind == yaml.ScalarNode
		n.Content = append(n.Content, inner)
	}
	if short {
		n.Style = yaml.FlowStyle
	}
	return n, nil
}

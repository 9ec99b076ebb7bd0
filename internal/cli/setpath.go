package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"callbackd/internal/safetext"
	"callbackd/internal/session"
	"callbackd/internal/strictjson"
)

// setInAll sets a member in the data of every event that has it. text is PATH=VALUE. At
// least one event must have the member.
func setInAll(events []session.SampleEvent, text string) error {
	path, value, ok := strings.Cut(text, "=")
	if !ok || path == "" {
		return settingf("--set %q has no path and value; write for example vehicle.vin=1HGCM82633A004352", safetext.Clip(text, 80))
	}
	to := strictjson.Value(value)
	if !json.Valid(to) {
		to = strictjson.AppendString(nil, value)
	}
	found := false
	var missing error
	for i := range events {
		data, err := setPath(events[i].Data, nil, strings.Split(path, "."), to)
		if err != nil {
			missing = fmt.Errorf("%s has no %s: %w", events[i].Type, safetext.Clip(path, 80), err)
			continue
		}
		found, events[i].Data = true, data
	}
	if !found {
		return settingf("--set: %v", missing)
	}
	return nil
}

// maxNamed is how many paths an error names.
const maxNamed = 30

// setPath returns a JSON value with the member at a path set. It changes nothing else by a
// byte. before are the names that lead to v. It fails when there is no such member.
func setPath(v strictjson.Value, before, path []string, to strictjson.Value) (strictjson.Value, error) {
	if len(path) == 0 {
		return to, nil
	}
	var names []string
	var values []strictjson.Value
	isObject := v.Kind() == '{'
	if isObject {
		members, err := strictjson.Object(v)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			names, values = append(names, m.Name), append(values, m.Value)
		}
	} else if v.Kind() == '[' {
		items, err := strictjson.Array(v)
		if err != nil {
			return nil, err
		}
		for i, item := range items {
			names, values = append(names, strconv.Itoa(i)), append(values, item)
		}
	}
	at := slices.Index(names, path[0])
	if at < 0 {
		return nil, noMember(v, before, names)
	}
	next, err := setPath(values[at], append(before, path[0]), path[1:], to)
	if err != nil {
		return nil, err
	}
	values[at] = next
	return assembled(names, values, isObject), nil
}

// noMember returns an error that names what there is at a place.
func noMember(v strictjson.Value, before, names []string) error {
	place := strings.Join(before, ".")
	if len(names) == 0 {
		return fmt.Errorf("%s is %s, and has no members; set it as a whole", place, safetext.Clip(string(v), 40))
	}
	var paths []string
	for _, n := range names[:min(len(names), maxNamed)] {
		paths = append(paths, strings.Join(append(before[:len(before):len(before)], n), "."))
	}
	list := strings.Join(paths, ", ")
	if more := len(names) - len(paths); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("there is %s", list)
}

// assembled returns an object, or an array, of values.
func assembled(names []string, values []strictjson.Value, isObject bool) strictjson.Value {
	out, end := []byte{'['}, byte(']')
	if isObject {
		out[0], end = '{', '}'
	}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		if isObject {
			out = append(strictjson.AppendString(out, names[i]), ':')
		}
		out = append(out, v...)
	}
	return append(out, end)
}

package callbackd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const filterSample = `{"grade":2.50,"status":"error","ok":true,"none":null,"vehicle":{"vin":"1FM","tags":["a",{"b":7}]},"a.b":1}`

func mustParse(t testing.TB, text string) *Filter {
	t.Helper()
	f, err := ParseFilter("policy.filter", []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestFilterMatches(t *testing.T) {
	session := &Session{Status: StatusConfirm, ClientID: "c-7", Reference: []byte(`{"branch":[10,20]}`)}
	for text, want := range map[string]string{ // to the term that fails; "" when it matches
		`{"data.grade":{"lt":3}}`:                                               "",
		`{"data.grade":{"eq":25e-1}}`:                                           "",
		`{"data.grade":{"lt":2.5}}`:                                             "data.grade lt 2.5",
		`{"data.grade":{"gt":2,"lt":2.4}}`:                                      "data.grade lt 2.4",
		`{"data.grade":{"eq":"2.50"}}`:                                          `data.grade eq "2.50"`,
		`{"data.grade":{"prefix":"2"}}`:                                         `data.grade prefix "2"`,
		`{"data.status":{"in":["warning","error"]}}`:                            "",
		`{"data.status":{"in":[ "x", null ]}}`:                                  `data.status in ["x",null]`,
		`{"data.status":{"ne":"error"}}`:                                        `data.status ne "error"`,
		`{"data.status":{"prefix":"err"}}`:                                      "",
		`{"data.status":{"lt":3}}`:                                              "data.status lt 3",
		`{"data.ok":{"eq":true},"data.none":{"eq":null}}`:                       "",
		`{"data.none":{"exists":true}}`:                                         "",
		`{"data.nobody":{"exists":false,"ne":1}}`:                               "",
		`{"data.nobody":{"exists":true}}`:                                       "data.nobody exists true (missing)",
		`{"data.nobody":{"eq":null}}`:                                           "data.nobody eq null (missing)",
		`{"data.vehicle":{"eq":null}}`:                                          "data.vehicle eq null",
		`{"data.vehicle":{"ne":null}}`:                                          "",
		`{"data.vehicle.tags.1.b":{"eq":7.0}}`:                                  "",
		`{"data.vehicle.tags.2":{"exists":false}}`:                              "",
		`{"data.vehicle.tags.+1":{"exists":false}}`:                             "",
		`{"data.vehicle.tags.01":{"exists":false}}`:                             "",
		`{"data.status.length":{"exists":false}}`:                               "",
		`{"data.a.b":{"exists":true}}`:                                          "data.a.b exists true (missing)",
		`{"session.status":{"in":["CONFIRM"]}}`:                                 "",
		`{"session.reference.branch.1":{"eq":20}}`:                              "",
		`{"session.options.client_id":{"prefix":"c-"}}`:                         "",
		`{"any":[{"data.grade":{"gt":3}},{"data.status":{"eq":"error"}}]}`:      "",
		`{"any":[{"data.grade":{"gt":3}},{"data.status":{"eq":"x"}}]}`:          `none of: data.grade gt 3; data.status eq "x"`,
		`{"all":[{"data.ok":{"eq":true}},{"data.grade":{"gt":3}}]}`:             "data.grade gt 3",
		`{"not":{"data.ok":{"eq":true},"data.grade":{"lt":3}}}`:                 "not (data.ok eq true and data.grade lt 3)",
		`{"not":{"any":[{"data.ok":{"eq":true}},{"data.nobody":{"eq":true}}]}}`: "not ((data.ok eq true or data.nobody eq true))",
		`{"not":{"data.grade":{"gt":3}},"data.ok":{"eq":true}}`:                 "",
	} {
		failed, ok := mustParse(t, text).Match(&FilterInput{Data: []byte(filterSample), Session: session})
		if failed != want || ok != (want == "") {
			t.Errorf("%s: %q, %v; want %q", text, failed, ok, want)
		}
	}
	for _, text := range []string{`{"session.status":{"exists":false}}`, `{"session.reference.a":{"exists":false}}`, `{"session.options.client_id":{"ne":"x"}}`} {
		if failed, ok := mustParse(t, text).Match(&FilterInput{Data: []byte("{}")}); !ok {
			t.Errorf("without a session, %s failed at %s", text, failed)
		}
	}
}

func TestFilterNamesWhatIsWrong(t *testing.T) {
	terms := strings.TrimSuffix(strings.Repeat(`{"data.a":{"exists":true}},`, MaxFilterTerms+1), ",")
	in := strings.TrimSuffix(strings.Repeat("1,", MaxFilterIn+1), ",")
	for text, want := range map[string]string{
		`7`:                             "policy.filter must be a JSON object",
		`{"data.a":{"eq":1}} x`:         "policy.filter must be a JSON object",
		"{\"data.\xff\":{\"eq\":1}}":    "policy.filter must be UTF-8.",
		`{"status":{"eq":1}}`:           "policy.filter.status is not a path. Paths are data.",
		`{"data":{"eq":1}}`:             "policy.filter.data is not a path.",
		`{"data.":{"eq":1}}`:            "policy.filter.data. is not a path.",
		`{"data.a..b":{"eq":1}}`:        "policy.filter.data.a..b is not a path.",
		`{"session.theme":{"eq":1}}`:    "policy.filter.session.theme is not a path.",
		`{"session.status.x":{"eq":1}}`: "policy.filter.session.status.x is not a path.",
		`{"data.` + strings.Repeat("a", MaxFilterPath) + `":{}}`:        "is too long: a path has at most 255 bytes.",
		`{"data` + strings.Repeat(".a", MaxFilterNames) + `":{"eq":1}}`: "is too long: a path has at most 16 names.",
		`{"data.a":{"eq":1` + strings.Repeat("0", 400) + `}}`:           "policy.filter.data.a.eq must be a text, a number,",
		`{"data.a":{"lt":1` + strings.Repeat("0", 400) + `}}`:           "policy.filter.data.a.lt must be a number.",
		`{"data.a":3}`:                            `policy.filter.data.a must be an object with operators (eq, ne, in, exists, prefix, lt and gt), such as`,
		`{"data.a":{}}`:                           "policy.filter.data.a must be an object with operators",
		`{"data.a":{"like":"x"}}`:                 "policy.filter.data.a.like is not an operator. There are eq, ne,",
		`{"data.a":{"lt":"3"}}`:                   "policy.filter.data.a.lt must be a number.",
		`{"data.a":{"gt":1e9999999999}}`:          "policy.filter.data.a.gt must be a number.",
		`{"data.a":{"exists":1}}`:                 "policy.filter.data.a.exists must be true or false.",
		`{"data.a":{"prefix":""}}`:                "policy.filter.data.a.prefix must be a text that is not empty.",
		`{"data.a":{"eq":[1]}}`:                   "policy.filter.data.a.eq must be a text, a number, true, false or null.",
		`{"data.a":{"in":[]}}`:                    "policy.filter.data.a.in must be an array of 1 to 100 texts",
		`{"data.a":{"in":[{}]}}`:                  "policy.filter.data.a.in must be an array of 1 to 100 texts",
		`{"data.a":{"in":[` + in + `]}}`:          "policy.filter.data.a.in must be an array of 1 to 100 texts",
		`{"all":[]}`:                              "policy.filter.all must be an array with at least one filter.",
		`{"any":{"data.a":{"eq":1}}}`:             "policy.filter.any must be an array with at least one filter.",
		`{"any":[{}]}`:                            "policy.filter.any.0 must not be empty.",
		`{"not":{"any":[{"data.a":{"eq":1}},7]}}`: "policy.filter.not.any.1 must be a JSON object",
		`{"all":[` + terms + `]}`:                 "policy.filter.all.32.data.a.exists is one operator too many. A filter has at most 32.",
		strings.Repeat(`{"not":`, 9) + `{}` + strings.Repeat(`}`, 9): "is nested too deep: at most 8 filters may be within each other.",
		`{"data.a":{"eq":"` + strings.Repeat("x", MaxFilter) + `"}}`: "policy.filter has 8212 bytes. At most 8192 are allowed.",
	} {
		_, err := ParseFilter("policy.filter", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: the error is %v; want %q in it", text, err, want)
		}
		if kind := KindOf(err); kind != KindInvalid {
			t.Errorf("%.80s: the error has the kind %d; want %d", text, kind, KindInvalid)
		}
	}
	if f, err := ParseFilter("policy.filter", []byte(" {} ")); f != nil || err != nil {
		t.Errorf("an empty filter is %v, %v", f, err)
	}
}

// refMatch judges a filter over decoded JSON, in the simplest way.
func refMatch(filter map[string]any, event any) bool {
	for member, v := range filter {
		ok := true
		switch member {
		case "all":
			for _, f := range v.([]any) {
				ok = ok && refMatch(f.(map[string]any), event)
			}
		case "any":
			ok = slices.ContainsFunc(v.([]any), func(f any) bool { return refMatch(f.(map[string]any), event) })
		case "not":
			ok = !refMatch(v.(map[string]any), event)
		default:
			value, found := refLookup(event, strings.Split(member, ".")[1:])
			for op, operand := range v.(map[string]any) {
				ok = ok && refHolds(op, operand, value, found)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

func refLookup(v any, path []string) (any, bool) {
	if len(path) == 0 {
		return v, true
	}
	switch of := v.(type) {
	case map[string]any:
		if inner, ok := of[path[0]]; ok {
			return refLookup(inner, path[1:])
		}
	case []any:
		for i, inner := range of {
			if strconv.Itoa(i) == path[0] {
				return refLookup(inner, path[1:])
			}
		}
	}
	return nil, false
}

func refHolds(op string, operand, v any, found bool) bool {
	rat := func(v any) *big.Rat {
		r, _ := new(big.Rat).SetString(fmt.Sprint(v))
		return r
	}
	_, isNumber := v.(json.Number)
	same := func(operand any) bool {
		if _, both := operand.(json.Number); both && isNumber {
			return rat(v).Cmp(rat(operand)) == 0
		}
		return reflect.DeepEqual(v, operand)
	}
	switch op {
	case "exists":
		return found == operand
	case "ne":
		return !found || !same(operand)
	case "eq":
		return found && same(operand)
	case "in":
		return found && slices.ContainsFunc(operand.([]any), same)
	case "prefix":
		text, ok := v.(string)
		return ok && strings.HasPrefix(text, operand.(string))
	case "lt":
		return isNumber && rat(v).Cmp(rat(operand)) < 0
	}
	return isNumber && rat(v).Cmp(rat(operand)) > 0
}

// drawn values, of few kinds so that they meet.
var (
	drawName   = rapid.SampledFrom([]string{"a", "b", "0", "1"})
	drawNumber = rapid.SampledFrom([]string{"0", "-0", "1", "1.0", "10e-1", "-1", "0.1", "1e2", "100", "99.999", "12345678901234567890", "12345678901234567891", "-1e-3"})
	drawText   = rapid.SampledFrom([]string{`""`, `"a"`, `"ab"`, `"1"`})
	drawScalar = rapid.OneOf(drawNumber, drawText, rapid.SampledFrom([]string{"true", "false", "null"}))
)

func drawData(t *rapid.T, depth int) string {
	var parts []string
	for range rapid.IntRange(0, 3).Draw(t, "members") {
		if depth < 3 && rapid.Bool().Draw(t, "nested") {
			parts = append(parts, drawData(t, depth+1))
		} else {
			parts = append(parts, drawScalar.Draw(t, "value"))
		}
	}
	if depth > 0 && rapid.Bool().Draw(t, "array") {
		return "[" + strings.Join(parts, ",") + "]"
	}
	for i, name := range []string{"a", "b", "0"}[:len(parts)] {
		parts[i] = strconv.Quote(name) + ":" + parts[i]
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func drawFilter(t *rapid.T, depth int) string {
	var members []string
	for _, kind := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"p", "q", "all", "any", "not"}), 1, 2, rapid.ID).Draw(t, "kinds") {
		if depth == 3 || kind == "p" || kind == "q" {
			path := "data." + strings.Join(rapid.SliceOfN(drawName, 1, 3).Draw(t, "path"), ".")
			var terms []string
			for _, op := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"eq", "ne", "in", "exists", "prefix", "lt", "gt"}), 1, 2, rapid.ID).Draw(t, "operators") {
				terms = append(terms, strconv.Quote(op)+":"+drawOperand(t, op))
			}
			if member := strconv.Quote(path) + ":{" + strings.Join(terms, ",") + "}"; !slices.ContainsFunc(members, func(m string) bool { return strings.HasPrefix(m, strconv.Quote(path)+":") }) {
				members = append(members, member)
			}
			continue
		}
		inner := drawFilter(t, depth+1)
		if kind != "not" {
			inner = "[" + inner + "," + drawFilter(t, depth+1) + "]"
		}
		members = append(members, strconv.Quote(kind)+":"+inner)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func drawOperand(t *rapid.T, op string) string {
	switch op {
	case "in":
		return "[" + strings.Join(rapid.SliceOfN(drawScalar, 1, 3).Draw(t, "in"), ",") + "]"
	case "exists":
		return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "exists")
	case "prefix":
		return rapid.SampledFrom([]string{`"a"`, `"ab"`}).Draw(t, "prefix")
	case "lt", "gt":
		return drawNumber.Draw(t, "bound")
	}
	return drawScalar.Draw(t, "operand")
}

// A filter judges as the reference does, which knows nothing of limits and texts.
func TestFilterJudgesLikeTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, data := drawFilter(t, 0), drawData(t, 0)
		f, err := (&filterParser{terms: -1000}).filter("filter", []byte(text), 1) // with room for more operators
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		filter, _ := decodeJSON([]byte(text))
		event, _ := decodeJSON([]byte(data))
		want := refMatch(filter.(map[string]any), event)
		failed, ok := f.judge(&FilterInput{Data: []byte(data)})
		if ok != want || ok != (failed == "") {
			t.Fatalf("%s on %s: %q, %v; want %v", text, data, failed, ok, want)
		}
	})
}

func TestCompareNumbersByValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(drawNumber, rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?`))
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		if order, ok := compareNumbers(a, b); !ok || order != x.Cmp(y) {
			t.Fatalf("%s to %s: %d, %v", a, b, order, ok)
		}
	})
}

// Any text is a filter that can be read again as it was, or a mistake of the client that
// the message names.
func FuzzParseFilter(f *testing.F) {
	for _, text := range []string{`{"data.grade":{"lt":3}}`, `{"any":[{"not":{"session.reference.a.0":{"in":[1,"x",null]}}}]}`, `{`, `[]`, `{"all":[7]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		filter, err := ParseFilter("policy.filter", text)
		switch {
		case err != nil && (KindOf(err) != KindInvalid || !strings.Contains(err.Error(), "policy.filter")):
			t.Fatalf("%q: %v", text, err)
		case filter == nil:
			return
		}
		again, err := ParseFilter("policy.filter", []byte(filter.String()))
		if err != nil || !reflect.DeepEqual(filter, again) {
			t.Fatalf("%q became %q, %v", text, filter, err)
		}
	})
}

// A filter judges any event, and any session, without a panic, and the reference agrees.
func FuzzFilterMatch(f *testing.F) {
	f.Add([]byte(`{"data.a.0":{"lt":3},"not":{"session.reference":{"eq":"x"}}}`), []byte(`{"a":[1]}`), []byte(`"x"`))
	f.Add([]byte(`{"any":[{"data.a":{"exists":true}},{"session.status":{"ne":"IDLE"}}]}`), []byte(filterSample), []byte(`{}`))
	f.Fuzz(func(t *testing.T, text, data, reference []byte) {
		filter, err := ParseFilter("policy.filter", text)
		if err != nil || filter == nil {
			return
		}
		in := &FilterInput{Data: data, Session: &Session{Status: StatusIdle, ClientID: string(reference), Reference: reference}}
		failed, ok := filter.Match(in)
		if ok != (failed == "") || len(failed) > maxFailedTerm+20 {
			t.Fatalf("%q on %q: %q, %v", text, data, failed, ok)
		}
		if again, _ := filter.Match(&FilterInput{Data: bytes.Clone(data), Session: in.Session}); again != failed {
			t.Fatalf("%q on %q: %q, then %q", text, data, failed, again)
		}
	})
}

func TestCandidatesChoose(t *testing.T) {
	var c Candidates
	c.Add(1, nil, 0)
	c.Add(2, mustParse(t, `{"data.grade":{"lt":3}}`), 0)
	c.Add(3, nil, 0)
	c.Add(4, mustParse(t, `{"session.status":{"eq":"CONFIRM"}}`), 0)
	if !c.UseSession() {
		t.Error("a filter uses the session, and the candidates do not say so")
	}
	targets, withheld := c.Choose([]byte(`{"grade":4}`), &Session{Status: StatusConfirm})
	if !slices.Equal(targets, []CallbackID{1, 3, 4}) || !slices.Equal(withheld, []Withheld{{2, "data.grade lt 3"}}) {
		t.Errorf("targets %v, withheld %v", targets, withheld)
	}
	targets, withheld = c.Choose([]byte(`{"grade":2}`), nil)
	if !slices.Equal(targets, []CallbackID{1, 2, 3}) || !slices.Equal(withheld, []Withheld{{4, `session.status eq "CONFIRM" (missing)`}}) {
		t.Errorf("without a session: targets %v, withheld %v", targets, withheld)
	}
}

// Callbacks without a filter cost nothing when an event is accepted.
func TestCandidatesWithoutFilterAllocateNothing(t *testing.T) {
	var c Candidates
	c.Add(1, nil, 0)
	c.Add(2, nil, 0)
	data := []byte(filterSample)
	if n := testing.AllocsPerRun(100, func() {
		if targets, withheld := c.Choose(data, nil); len(targets) != 2 || withheld != nil {
			t.Fatal(targets, withheld)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

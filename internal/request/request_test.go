package request_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/strictjson"

	"github.com/google/go-cmp/cmp"
)

// wanted has one destination for each kind of field.
type wanted struct {
	Text     string
	Choice   string
	Event    callbackd.EventType
	Whole    int
	Wait     time.Duration
	Callback callbackd.CallbackID
	Rate     float64
	Flag     bool
	Duration time.Duration
	Time     time.Time
	Status   int
	Cursor   callbackd.EventID
	Array    []time.Duration
	Raw      []byte
	Object   []byte
}

func (w *wanted) fields() []request.Field {
	return []request.Field{
		request.Text("text", &w.Text, 10),
		request.Choice("choice", &w.Choice, []string{"red", "green", "blue"}),
		request.EventType("event", &w.Event),
		request.Whole("whole", &w.Whole, 1, 2000),
		request.Seconds("seconds", &w.Wait, 30*time.Second),
		request.CallbackID("callback", &w.Callback),
		request.Rate("rate", &w.Rate, 1000, "deliveries"),
		request.Flag("flag", &w.Flag),
		request.Duration("duration", &w.Duration, time.Second, 48*time.Hour),
		request.Time("time", &w.Time),
		request.Status("status", &w.Status),
		request.Cursor("cursor", &w.Cursor, callbackd.ParseEventID),
		request.Array("array", &w.Array, 1, 3, "an array of 1 to 3 delays", func(name string, to *time.Duration) request.Field {
			return request.Duration(name, to, 0, time.Hour)
		}),
		request.Raw("raw", &w.Raw, 20),
		request.RawObject("object", &w.Object, 20),
	}
}

func object(t *testing.T, text string) request.Object {
	t.Helper()
	members, err := strictjson.Object([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return request.Members(members)
}

func TestFieldsAreRead(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		body   string // read strictly
		query  string // read leniently
		want   wanted
		either bool
	}{
		{name: "text", body: `{"text":" é "}`, want: wanted{Text: " é "}},
		{name: "text without the space around it", query: "text=+a+b+", want: wanted{Text: "a b"}},
		{name: "choice", body: `{"choice":"green"}`, query: "choice=GREEN", want: wanted{Choice: "green"}},
		{name: "event", body: `{"event":"SESSION:COMPLETE"}`, query: "event=session:complete", want: wanted{Event: callbackd.Complete}},
		{name: "whole number", body: `{"whole":5}`, query: "whole=5", want: wanted{Whole: 5}},
		{name: "whole number as a float", body: `{"whole":5.0}`, query: "whole=5e0", want: wanted{Whole: 5}},
		{name: "seconds", body: `{"seconds":30}`, query: "seconds=30", want: wanted{Wait: 30 * time.Second}},
		{name: "callback", body: `{"callback":7}`, query: "callback=7", want: wanted{Callback: 7}},
		{name: "rate", body: `{"rate":2.5}`, query: "rate=2.5", want: wanted{Rate: 2.5}},
		{name: "flag", body: `{"flag":true}`, query: "flag=1", want: wanted{Flag: true}},
		{name: "flag in capitals", query: "flag=TRUE", want: wanted{Flag: true}},
		{name: "duration", body: `{"duration":"1d12h"}`, query: "duration=1d12h", want: wanted{Duration: 36 * time.Hour}},
		{name: "duration in seconds", body: `{"duration":1.5}`, query: "duration=1.5", want: wanted{Duration: 1500 * time.Millisecond}},
		{name: "time", body: `{"time":"2026-01-02T12:00:00Z"}`, query: "time=2026-01-02T12:00:00Z", want: wanted{Time: noon}},
		{name: "time in Unix seconds", body: `{"time":"1767355200"}`, query: "time=1767355200", want: wanted{Time: noon}},
		{name: "time of a browser", body: `{"time":"2026-01-02T12:00"}`, query: "time=2026-01-02T12:00", want: wanted{Time: noon}},
		{name: "date", body: `{"time":"2026-01-02"}`, query: "time=2026-01-02", want: wanted{Time: noon.Add(-12 * time.Hour)}},
		{name: "status", body: `{"status":"404"}`, query: "status=404", want: wanted{Status: 404}},
		{name: "class of statuses", body: `{"status":"5XX"}`, query: "status=5xx", want: wanted{Status: 5}},
		{name: "cursor", body: `{"cursor":"evt_0000000000001"}`, query: "cursor=evt_0000000000001", want: wanted{Cursor: 1}},
		{name: "array", body: `{"array":[0,"30s"]}`, want: wanted{Array: []time.Duration{0, 30 * time.Second}}},
		{name: "raw value", body: `{"raw":[1e400, null]}`, want: wanted{Raw: []byte("[1e400, null]")}},
		{name: "object", body: `{"object":{"a": 1e400}}`, want: wanted{Object: []byte(`{"a": 1e400}`)}},
		{name: "object in a string", body: `{"object":" {\"a\":1} "}`, want: wanted{Object: []byte(`{"a":1}`)}},
		{name: "PHP's empty object", body: `{"object":[]}`, want: wanted{Object: []byte(`{}`)}},
		{name: "null", body: `{"text":null,"whole":null}`, query: "choice=&whole=&rate=&flag=&duration=&time=&status=&cursor=&callback="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.body != "" {
				var got wanted
				if err := object(t, tt.body).Read(got.fields()...); err != nil {
					t.Errorf("%s: %v", tt.body, err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s: -want +got\n%s", tt.body, diff)
				}
			}
			if tt.query != "" {
				var got wanted
				params, err := request.Query(tt.query, request.Names(got.fields()))
				if err == nil {
					err = params.Read(got.fields()...)
				}
				if err != nil {
					t.Errorf("%s: %v", tt.query, err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s: -want +got\n%s", tt.query, diff)
				}
			}
		})
	}
}

func TestFieldsAreRefused(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"text":5}`, `text must be a string, not 5.`},
		{`{"text":{}}`, `text must be a string.`},
		{`{"text":"01234567890"}`, `text is longer than 10 bytes.`},
		{`{"choice":"Green"}`, `choice "Green" is not supported. Use red, green or blue.`},
		{`{"choice":true}`, `choice must be a string, not true.`},
		{`{"event":"session:complete"}`, `event "session:complete" is not supported. Use SESSION:SMS_PROCESS, SESSION:STAGE_CHANGE, SESSION:STATUS_CHANGE, SESSION:COMPLETE, SESSION:NOTE_INSERT, SESSION:SMS_REQUESTED, ` + request.List(callbackd.NoticeTypes, "or") + `.`},
		{`{"whole":0}`, `whole must be a whole number from 1 to 2,000, not 0.`},
		{`{"whole":2001}`, `whole must be a whole number from 1 to 2,000, not 2001.`},
		{`{"whole":1.5}`, `whole must be a whole number from 1 to 2,000, not 1.5.`},
		{`{"whole":"5"}`, `whole must be a whole number from 1 to 2,000, not "5".`},
		{`{"whole":1e300}`, `whole must be a whole number from 1 to 2,000, not 1e300.`},
		{`{"seconds":31}`, `seconds must be a whole number of seconds from 0 to 30, not 31.`},
		{`{"callback":0}`, `callback must be the ID of a callback, which GET /v1/callbacks/:event/policy shows, not 0.`},
		{`{"rate":0.0001}`, `rate must be a number of deliveries a second from 0.001 to 1,000, or 0 for no limit, not 0.0001.`},
		{`{"rate":-1}`, `rate must be a number of deliveries a second from 0.001 to 1,000, or 0 for no limit, not -1.`},
		{`{"rate":"5"}`, `rate must be a number of deliveries a second from 0.001 to 1,000, or 0 for no limit, not "5".`},
		{`{"flag":1}`, `flag must be true or false, not 1.`},
		{`{"flag":"true"}`, `flag must be true or false, not "true".`},
		{`{"duration":"3d"}`, `duration must be a duration from 1s to 2d, such as "30s", not "3d".`},
		{`{"duration":"5"}`, `duration must be a duration from 1s to 2d, such as "30s", not "5".`},
		{`{"duration":[]}`, `duration must be a duration from 1s to 2d, such as "30s".`},
		{`{"time":"soon"}`, `time must be a time such as 2026-01-02T15:04:05Z, or Unix seconds, not "soon".`},
		{`{"time":"1969-12-31T23:59:59Z"}`, `time must be a time such as 2026-01-02T15:04:05Z, or Unix seconds, not "1969-12-31T23:59:59Z".`},
		{`{"time":"2027"}`, `time must be a time such as 2026-01-02T15:04:05Z, or Unix seconds, not "2027".`},
		{`{"time":" 2027.0"}`, `time must be a time such as 2026-01-02T15:04:05Z, or Unix seconds, not " 2027.0".`},
		{`{"time":"20270102"}`, `time must be a time such as 2026-01-02T15:04:05Z, or Unix seconds, not "20270102".`},
		{`{"time":5}`, `time must be a string, not 5.`},
		{`{"status":"6xx"}`, `status must be a status such as 404, or a class such as 5xx, not "6xx".`},
		{`{"status":"99"}`, `status must be a status such as 404, or a class such as 5xx, not "99".`},
		{`{"cursor":"x"}`, `Invalid cursor. Omit it to start from the first page.`},
		{`{"array":[]}`, `array must be an array of 1 to 3 delays.`},
		{`{"array":[0,1,2,3]}`, `array must be an array of 1 to 3 delays.`},
		{`{"array":[0,"2h"]}`, `array must be a duration from 0s to 1h, such as "30s", not "2h".`},
		{`{"raw":"0123456789012345678901234567890"}`, `raw is larger than 20 bytes.`},
		{`{"object":[1]}`, `object must be a JSON object, or a string that holds one.`},
		{`{"object":"text"}`, `object must be a JSON object, or a string that holds one.`},
		{`{"object":"{\"a\":1,\"a\":2}"}`, `object is not valid JSON: duplicate object member name "a".`},
		{`{"text":"` + strings.Repeat("x", 9) + `","whole":"` + strings.Repeat("y", 50) + `"}`, `whole must be a whole number from 1 to 2,000, not "` + strings.Repeat("y", 40) + `…".`},
	} {
		var got wanted
		err := object(t, tt.body).Read(got.fields()...)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\n got %v\nwant %v", tt.body, err, tt.want)
		}
		if err != nil && callbackd.KindOf(err) != callbackd.KindInvalid {
			t.Errorf("%s is refused with kind %v, want KindInvalid", tt.body, callbackd.KindOf(err))
		}
	}
}

func TestTheSampleOfADurationIsWithinItsLimits(t *testing.T) {
	for _, limits := range [][2]time.Duration{{0, time.Second}, {time.Second, time.Minute}, {time.Minute, 720 * time.Hour}, {time.Hour, 720 * time.Hour}} {
		d := time.Duration(0)
		field := request.Duration("d", &d, limits[0], limits[1])
		err := object(t, `{"d":"never"}`).Read(field)
		if err == nil {
			t.Fatalf("%v: a duration that is none was read", limits)
		}
		_, rest, _ := strings.Cut(err.Error(), "such as ")
		sample, _, _ := strings.Cut(rest, ",")
		if err := object(t, `{"d":`+sample+`}`).Read(field); err != nil {
			t.Errorf("%v: the sample %s is refused: %v", limits, sample, err)
		}
	}
}

func TestARequiredFieldMustBeGiven(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"a":"x"}`, ""},
		{`{"a":null}`, "a is missing."},
		{`{"a":""}`, "a is missing."},
		{`{}`, "a is missing."},
	} {
		a := ""
		got := ""
		if err := object(t, tt.body).Read(request.Text("a", &a, 10).Required()); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.body, got, tt.want)
		}
	}
}

func TestACheckRunsAfterTheValueWasRead(t *testing.T) {
	a := ""
	odd := request.Text("a", &a, 10).Check(func(string) error {
		if len(a)%2 == 0 {
			return nil
		}
		return callbackd.Invalid("a is odd.")
	})
	if err := object(t, `{"a":"xx"}`).Read(odd); err != nil {
		t.Error(err)
	}
	if err := object(t, `{"a":"x"}`).Read(odd); err == nil || err.Error() != "a is odd." {
		t.Errorf("%v, want that a is odd", err)
	}
	if err := object(t, `{}`).Read(odd); err != nil {
		t.Errorf("the check of an absent member: %v", err)
	}
}

func TestAnEmptyTextOfAnOptionalFieldCountsAsAbsent(t *testing.T) {
	a := "red"
	field := request.Choice("a", &a, []string{"red", "green"})
	if err := object(t, `{"a":""}`).Read(field); err == nil {
		t.Error("an empty text was read as a choice")
	}
	if err := object(t, `{"a":""}`).Read(field.Optional()); err != nil || a != "red" {
		t.Errorf("%q, %v; want red", a, err)
	}
}

func TestAnUnknownMemberIsIgnoredUnlessTheObjectIsStrict(t *testing.T) {
	a := ""
	body := object(t, `{"b":null,"a":"x"}`)
	if err := body.Read(request.Text("a", &a, 10)); err != nil || a != "x" {
		t.Errorf("a is %q, %v", a, err)
	}
	const want = `Unknown member "b". A thing has a and c.`
	c := false
	if err := body.Strict("A thing").Read(request.Text("a", &a, 10), request.Flag("c", &c)); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAllProblemsAreFound(t *testing.T) {
	var got wanted
	problems := request.Values(url.Values{"whole": {"0"}, "text": {"x"}, "rate": {"fast"}}).ReadAll(got.fields()...)
	names := make([]string, len(problems))
	for i, p := range problems {
		names[i] = p.Field
	}
	if diff := cmp.Diff([]string{"whole", "rate"}, names); diff != "" {
		t.Errorf("fields with problems: -want +got\n%s", diff)
	}
	if got.Text != "x" {
		t.Errorf("text is %q, want x", got.Text)
	}
}

func TestAFieldIsSetFromAText(t *testing.T) {
	d := time.Duration(0)
	f := request.Duration("--every", &d, 0, time.Hour)
	if err := f.Set("90s"); err != nil || d != 90*time.Second {
		t.Errorf("%v, %v; want 1m30s", d, err)
	}
	const want = `--every must be a duration from 0s to 1h, such as "30s", not "often".`
	if err := f.Set("often"); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestQueriesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		query string
		known []string
		want  string
	}{
		{"b=1", []string{"a"}, `Unknown parameter "b". This call takes a.`},
		{"b=1", []string{"a", "c"}, `Unknown parameter "b". This call takes a and c.`},
		{"b=1", nil, `Unknown parameter "b". This call takes none.`},
		{"a=1&a=1", []string{"a"}, "a is given twice."},
		{"a=%zz", []string{"a"}, "The query is malformed. Percent-encode its values."},
		{"a;b", []string{"a"}, "The query is malformed. Percent-encode its values."},
		{"", nil, ""},
		{"a=%20", []string{"a"}, ""},
	} {
		got := ""
		if _, err := request.Query(tt.query, tt.known); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.query, got, tt.want)
		}
	}
}

// read returns the texts of a and b in an object.
func read(o request.Object) (out [2]string, err error) {
	return out, o.Read(request.Text("a", &out[0], 10), request.Text("b", &out[1], 10))
}

func TestContainersAreFlattened(t *testing.T) {
	containers := map[string][]string{"": {"inner"}, "inner": {"deep"}}
	for _, tt := range []struct {
		body string
		want [2]string
	}{
		{`{"a":"1","inner":{"b":"2"}}`, [2]string{"1", "2"}},
		{`{"inner":{"deep":{"b":"2"},"a":"1"}}`, [2]string{"1", "2"}},
		{`{"inner":"{\"a\":\"1\"}"}`, [2]string{"1", ""}},
		{`{"inner":{"a":"nested"},"a":"flat"}`, [2]string{"nested", ""}},
		{`{"inner":{"a":null},"a":"flat"}`, [2]string{"flat", ""}},
		{`{"deep":{"a":"1"},"inner":[]}`, [2]string{}},
	} {
		flat, err := object(t, tt.body).Flatten(containers)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(flat)
		if err != nil {
			t.Fatal(err)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.body, got, tt.want)
		}
	}
	_, err := object(t, `{"inner":7}`).Flatten(containers)
	if err == nil || err.Error() != "inner must be a JSON object, or a string that holds one." {
		t.Errorf("a container that is no object: %v", err)
	}
}

func TestMembersMayBeBesideTheirObject(t *testing.T) {
	for _, tt := range []struct {
		body    string
		want    [2]string
		wantErr string
	}{
		{body: `{"policy":{"a":"1","b":"2"}}`, want: [2]string{"1", "2"}},
		{body: `{"policy":{"a":"1"},"b":"2"}`, want: [2]string{"1", ""}},
		{body: `{"policy":{"b":"2"},"a":"1"}`, want: [2]string{"1", "2"}},
		{body: `{"a":"1"}`, want: [2]string{"1", ""}},
		{body: `{"policy":{"a":null},"a":"1"}`, want: [2]string{"1", ""}},
		{body: `{"policy":{"a":"1"},"a":"1"}`, wantErr: "policy.a and a are both given. Leave out a."},
		{body: `{"policy":{"a":1}}`, wantErr: "policy.a must be a string, not 1."},
		{body: `{"a":1}`, wantErr: "a must be a string, not 1."},
		{body: `{"policy":{"c":1}}`, wantErr: `Unknown member "c". policy has a and b.`},
		{body: `{"policy":[1]}`, wantErr: "policy must be a JSON object, or a string that holds one."},
	} {
		body := object(t, tt.body)
		inner, err := body.Nested("policy")
		if err == nil {
			inner, err = inner.Adopt(body, "a")
		}
		var got [2]string
		if err == nil {
			got, err = read(inner.Strict("policy"))
		}
		gotErr := ""
		if err != nil {
			gotErr = err.Error()
		}
		if gotErr != tt.wantErr {
			t.Errorf("%s: %q, want %q", tt.body, gotErr, tt.wantErr)
		}
		if tt.wantErr == "" && got != tt.want {
			t.Errorf("%s: %q, want %q", tt.body, got, tt.want)
		}
	}
}

func TestListsAreSentences(t *testing.T) {
	for want, words := range map[string][]string{"": nil, "a": {"a"}, "a or b": {"a", "b"}, "a, b or c": {"a", "b", "c"}} {
		if got := request.List(words, "or"); got != want {
			t.Errorf("%v: %q, want %q", words, got, want)
		}
	}
}

// FuzzRead reads anything as every kind of field. What is accepted is within
// the limits and reads back as the same; what is refused is refused with a
// sentence.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"text":"x","choice":"red","event":"SESSION:COMPLETE","whole":5,"seconds":3,"callback":7,"rate":0.5,"flag":true,"duration":"30s","time":"2026-01-02","status":"5xx"}`,
		`{"whole":"5","rate":1e-3,"flag":"1","duration":1e400,"status":99,"cursor":"evt_0000000000001","array":["1h",0],"raw":[],"object":"{}"}`,
		`{"text":7,"choice":"RED","whole":-0,"whole":1e18,"duration":0.1,"array":[[]],"object":[]}`,
		"whole=5&rate=0x10&flag=TRUE", "array[]=1&array[]=2&object[a]=1",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, isForm bool) {
		contentType := "application/json"
		if isForm {
			contentType = "application/x-www-form-urlencoded"
		}
		body, err := request.ReadBody(contentType, raw)
		if err != nil {
			sentence(t, err)
			return
		}
		_, o, err := body.Object()
		if err != nil {
			sentence(t, err)
			return
		}
		for _, o := range []request.Object{o, o.Lenient()} {
			var got wanted
			if err := o.Read(got.fields()...); err != nil {
				sentence(t, err)
				continue
			}
			within(t, got)
		}
	})
}

func sentence(t *testing.T, err error) {
	t.Helper()
	if callbackd.KindOf(err) != callbackd.KindInvalid {
		t.Errorf("kind %v, want KindInvalid: %v", callbackd.KindOf(err), err)
	}
	if s := err.Error(); !strings.HasSuffix(s, ".") || len(s) > 2000 {
		t.Errorf("%q is no sentence", s)
	}
}

// within checks the limits that the fields of wanted have.
func within(t *testing.T, got wanted) {
	t.Helper()
	if len(got.Text) > 10 {
		t.Errorf("text %q is too long", got.Text)
	}
	if got.Whole < 0 || got.Whole > 2000 {
		t.Errorf("whole is %d", got.Whole)
	}
	if got.Rate < 0 || got.Rate > 1000 {
		t.Errorf("rate is %v", got.Rate)
	}
	if got.Duration != 0 && (got.Duration < time.Second || got.Duration > 48*time.Hour) {
		t.Errorf("duration is %v", got.Duration)
	}
	if got.Object != nil && !json.Valid(got.Object) {
		t.Errorf("object is %s", got.Object)
	}
	if got.Callback < 0 {
		t.Errorf("callback is %d", got.Callback)
	}
}

// Whoever means all writes the beginning of 1970.
func TestTheBeginningOf1970IsATime(t *testing.T) {
	for _, text := range []string{"0", "1970-01-01T00:00:00Z", "1970-01-01"} {
		var at time.Time
		if err := object(t, `{"time":"`+text+`"}`).Read(request.Time("time", &at)); err != nil || at.Unix() != 0 {
			t.Errorf("%s: %v, %v", text, at, err)
		}
	}
}

package request_test

import (
	"net/url"
	"testing"
	"time"

	"callbackd/internal/request"

	"github.com/google/go-cmp/cmp"
)

func TestAFormIsReadAsJSON(t *testing.T) {
	const asForm = "application/x-www-form-urlencoded"
	for _, tt := range []struct{ contentType, body, want string }{
		{asForm, "a=1&b[x]=2&b[y]=3&c[]=4&c[]=5&d[0]=6&d[1]=7&e[1]=8", `{"a":"1","b":{"x":"2","y":"3"},"c":["4","5"],"d":["6","7"],"e":{"1":"8"}}`},
		{asForm + "; charset=utf-8", "a=%C3%BC+%26", `{"a":"ü &"}`},
		{asForm, ` {"a":1}`, ` {"a":1}`},
		{"application/json", "a=1", "a=1"},
		{"", `[]`, `[]`},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a[b]\"\r\n\r\n1\r\n--x--\r\n", `{"a":{"b":"1"}}`},
	} {
		body, err := request.ReadBody(tt.contentType, []byte(tt.body))
		if err != nil {
			t.Errorf("%q: %v", tt.body, err)
		}
		if string(body.JSON) != tt.want {
			t.Errorf("%q: %s, want %s", tt.body, body.JSON, tt.want)
		}
	}
}

func TestTheFieldsOfAFormAreText(t *testing.T) {
	body, err := request.ReadBody("application/x-www-form-urlencoded", []byte("whole=5&rate=2.5&flag=0&array[]=0&array[]=60"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"whole", "rate", "flag", "array[]", "array[]"}, body.Form); diff != "" {
		t.Errorf("names of the fields: -want +got\n%s", diff)
	}
	_, o, err := body.Object()
	if err != nil {
		t.Fatal(err)
	}
	got := wanted{Flag: true}
	if err := o.Read(got.fields()...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted{Whole: 5, Rate: 2.5, Array: []time.Duration{0, time.Minute}}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSplitMakesAnArrayOfAText(t *testing.T) {
	for text, want := range map[string][]string{
		"a":         {"a"},
		"a, b":      {"a", "b"},
		" a,b\n c ": {"a", "b", "c"},
		`"a",[b]`:   {`"a"`, "[b]"},
		" , ":       {},
	} {
		t.Run(text, func(t *testing.T) {
			var got []string
			word := func(name string, to *string) request.Field { return request.Text(name, to, 10) }
			field := request.Array("list", &got, 0, 5, "words", word)
			if err := request.Values(url.Values{"list": {text}}).Split("list").Read(field); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the words of %q (-want +got):\n%s", text, diff)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		if request.Values(nil).Split("list").Has("list") {
			t.Error("a form without the field has it after Split")
		}
	})
}

func TestSecondsLeaveTheDefaultForAnEmptyText(t *testing.T) {
	wait := 5 * time.Second
	if err := request.Values(url.Values{"wait": {""}}).Read(request.Seconds("wait", &wait, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if wait != 5*time.Second {
		t.Errorf("the empty text made it %v, want 5s", wait)
	}
}

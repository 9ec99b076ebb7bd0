package callbacks_test

import (
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"

	"github.com/google/go-cmp/cmp"
)

// readForm reads the setting that a form with these further fields makes.
func readForm(t *testing.T, further string) (callbackd.Callback, error) {
	t.Helper()
	form := "event=SESSION:COMPLETE&url=https://example.com/" + further
	body, err := request.ReadBody("application/x-www-form-urlencoded", []byte(form))
	if err != nil {
		t.Fatal(err)
	}
	_, object, err := body.Object()
	if err != nil {
		t.Fatal(err)
	}
	return callbacks.Read(object, true, nil)
}

func TestAnEmptyFieldOfAFormSetsNothing(t *testing.T) {
	want, err := readForm(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"name", "method", "headers", "payload", "timeout", "order", "rate", "concurrency", "policy[order]", "policy[keep_alive]", "policy[store_response]", "policy[signing]", "policy[filter]", "policy[fields]", "secret"} {
		t.Run(name, func(t *testing.T) {
			got, err := readForm(t, "&"+name+"=")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("an empty %s changes the setting (-without +with):\n%s", name, diff)
			}
		})
	}
}

func TestNoOrderWaitIsAChoice(t *testing.T) {
	got, err := readForm(t, "&order=0s")
	if err != nil {
		t.Fatal(err)
	}
	if got.Policy.OrderWait != callbackd.NoOrderWait {
		t.Errorf("order=0s makes the order wait %v, want %v", got.Policy.OrderWait, callbackd.NoOrderWait)
	}
}

// A browser sends the lines of a form with other ends than it was shown.
func TestLineEndsOfAFormDoNotChangeCredentials(t *testing.T) {
	const pem = "-----BEGIN X-----\nAA==\n-----END X-----\n"
	read := func(pem string) *callbackd.Auth {
		fields := url.Values{"policy[auth][tls][cert]": {pem}, "policy[auth][tls][key]": {pem}, "policy[auth][tls][ca]": {pem}}
		cb, err := readForm(t, "&"+fields.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return cb.Policy.Auth
	}
	want := &callbackd.Auth{TLS: &callbackd.ClientTLS{Cert: pem, Key: pem, CA: pem}}
	for _, text := range []string{pem, strings.ReplaceAll(pem, "\n", "\r\n"), strings.TrimSpace(pem), "\n" + pem + "\n"} {
		if got := read(text); !got.Same(want) {
			t.Errorf("%q is read as %+v", text, got.TLS)
		}
	}
	if got := read(callbackd.Mask); got.TLS.Key != callbackd.Mask {
		t.Errorf("the mask is read as %q", got.TLS.Key)
	}
}

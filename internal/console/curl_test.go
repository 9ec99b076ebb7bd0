package console_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/console"
	"callbackd/internal/signature"

	"github.com/google/go-cmp/cmp"
)

// sent is a request as a receiver got it.
type sent struct {
	Method, Query, Body string
	Header              http.Header
}

// recorder passes on the requests that a receiver gets.
func recorder(t *testing.T) (address string, requests <-chan sent) {
	t.Helper()
	got := make(chan sent, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- sent{r.Method, r.URL.RawQuery, string(body), r.Header.Clone()}
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

// The command that the console shows sends the request of the attempt again: with
// the callback's own headers in full, and a signature of the present time.
func TestTheCopiedCommandSendsTheRequestOfTheAttempt(t *testing.T) {
	s := startSite(t)
	address, requests := recorder(t)
	v := s.visitor(t).signIn(s.Key)
	for _, method := range []string{"POST", "PUT", "GET"} {
		t.Run(method, func(t *testing.T) {
			callback := s.register(s.Key, client.NewCallback{Event: "SESSION:NOTE_INSERT", Name: method, Method: method, URL: address + "/a%2Fb/{x}?q=[1]&r=it's",
				Headers: map[string]string{"Authorization": "Bearer receiver-secret", "X-Empty": "", "X-Quote": `it's "so"`}})
			defer s.deregister(t, "SESSION:NOTE_INSERT", method)
			event := s.Publish(s.Key, callbackd.NoteInsert, "ACM-0123456789",
				map[string]any{"note": map[string]any{"title": "it's \u202e $HOME `id`"}, "long": strings.Repeat("x", 3000)})
			attempt := <-requests
			page := deliveryPath(event, callback)
			s.Await(func() bool { return v.get(page+"/curl?attempt=1").StatusCode == http.StatusOK })

			run(t, element(t, v.get(page+"/curl?attempt=1"), "curl"))
			copied := <-requests

			checkSignature(t, copied, event, element(t, v.get("/console/callbacks/"+callback+"/secret"), "secret"))
			for _, r := range []sent{attempt, copied} {
				for _, name := range []string{"webhook-timestamp", "webhook-signature", "callback-query-signature", "accept", "connection"} {
					r.Header.Del(name)
				}
			}
			if diff := cmp.Diff(attempt, copied); diff != "" {
				t.Errorf("the command sends another request (-attempt +command):\n%s", diff)
			}
			if strings.Contains(v.get(page).body, "receiver-secret") {
				t.Error("the delivery's page shows a secret")
			}
		})
	}
}

// deregister deletes a callback over the API.
func (s *site) deregister(t *testing.T, event, name string) {
	t.Helper()
	if err := s.Client(s.Key).Do(context.Background(), "DELETE", "/v1/callbacks/"+event+"?name="+name, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// run runs a command in bash and returns its output.
func run(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("bash", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, command, out)
	}
	return string(out)
}

// checkSignature checks that a request is signed with the secret, and lately.
func checkSignature(t *testing.T, r sent, event, secret string) {
	t.Helper()
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	unix, err := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(time.Unix(unix, 0)).Abs(); age > 5*time.Minute {
		t.Errorf("the request was signed %v ago, want at most 5 min", age)
	}
	signed := map[string]string{"webhook-signature": r.Body}
	if r.Method == "GET" {
		signed["callback-query-signature"] = r.Query
	}
	for name, text := range signed {
		if got, want := r.Header.Get(name), signature.Sign(event, unix, []byte(text), signature.NewKey(key)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestTextIsQuotedByteForByteAndHidesNothing(t *testing.T) {
	for _, text := range []string{`{"a":"it's"}`, hostile[:len(hostile)-6], "\xff\xfe\\n'\t\r\n\u202e\U000e0041", "plain"} {
		quoted := console.Quote(text)
		if got := run(t, "printf %s "+quoted); got != text {
			t.Errorf("bash reads %s as %q, want %q", quoted, got, text)
		}
		if strings.ContainsAny(quoted, "\u202e\u2066\x07") {
			t.Errorf("%q has hidden characters", quoted)
		}
	}
}

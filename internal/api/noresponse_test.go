package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"callbackd/wire"
)

// marker is a text of a person in the answers of a receiver.
const marker = "MarkerOfAPerson"

// contents returns what the files of a directory hold.
func contents(t *testing.T, dir string) (all []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw...)
	}
	return all
}

// personal is a receiver whose answers have the marker wherever an answer can have it.
func personal(t *testing.T) string {
	t.Helper()
	raw := func(w http.ResponseWriter, text string) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, text)
		conn.Close()
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Person", marker)
		w.Header().Set("Location", "/"+marker)
		switch req.URL.Path {
		case "/fine":
			io.WriteString(w, strings.Repeat(marker, 5000))
		case "/moved":
			w.WriteHeader(302)
		case "/later":
			w.Header().Set("Retry-After", marker)
			w.WriteHeader(503)
			io.WriteString(w, marker)
		case "/line":
			raw(w, "HTTP/1.1 "+marker+" "+marker+"\r\n\r\n")
		case "/header":
			raw(w, "HTTP/1.1 200 OK\r\n"+marker+"\r\n\r\n")
		case "/length":
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: "+marker+"\r\n\r\n")
		case "/chunk":
			raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+marker+"\r\n"+marker)
		case "/cut":
			raw(w, "HTTP/1.1 500 "+marker+"\r\nContent-Length: 9000\r\n\r\n"+marker)
		}
	}))
	t.Cleanup(web.Close)
	return web.URL
}

// With policy.store_response false, no byte of an answer reaches the database, and
// everything else about an attempt does.
func TestAnswersAreNotStored(t *testing.T) { onBothStores(t, answersAreNotStored) }

func answersAreNotStored(t *testing.T, on func(*setup)) {
	s := start(t, on)
	url := personal(t)
	for _, c := range []struct {
		path   string
		status int // 0: there is no answer
		fault  string
	}{
		{"/fine", 200, ""}, {"/moved", 302, "status"}, {"/later", 503, "status"}, {"/line", 0, "protocol"}, {"/header", 0, "protocol"}, {"/length", 0, "protocol"}, {"/chunk", 200, ""}, {"/cut", 500, "status"},
	} {
		s := s.as(s.newKey("acme", true)) // test-sends are limited for each key
		s.register("SESSION:COMPLETE", url+c.path, `,"policy":{"store_response":false}`)
		if p := decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200)); p.StoreResponse {
			t.Error("the policy says that answers are stored")
		}
		id := s.deliveryOf(s.publish("SESSION:COMPLETE", "A", `{}`))
		s.until("the attempt at "+c.path, func() bool { return s.delivery(id).Attempts == 1 })
		texts := []string{s.call("POST", "/v1/callbacks/SESSION:COMPLETE/test", "").ok(200).body, s.call("GET", "/v1/deliveries/"+id+"/explain", "").ok(200).body, s.call("GET", "/v1/deliveries/"+id, "").ok(200).body}
		for _, text := range texts {
			if strings.Contains(text, marker) {
				t.Errorf("%s: the answer is shown: %s", c.path, text)
			}
		}
		a := s.delivery(id).History[0]
		equal(t, c.path+": the fault", a.Fault, c.fault)
		equal(t, c.path+": what is stored", a.Capture, "response_not_stored")
		status := 0
		if a.Response != nil {
			status = a.Response.Status
			equal(t, c.path+": the answer", *a.Response, wire.Response{Status: status, Encoding: "utf-8", Size: a.Response.Size})
		}
		equal(t, c.path+": the status", status, c.status)
		if c.path == "/fine" && a.Response.Size < 10_000 {
			t.Errorf("the size of the answer is %d", a.Response.Size)
		}
	}
	if bytes.Contains(s.stored(), []byte(marker)) {
		t.Error("the database has a part of an answer")
	}
	// The same receiver with another policy: the search can find it.
	for i, policy := range []string{`true`, `null`} {
		s.register("SESSION:COMPLETE", url+"/fine", fmt.Sprintf(`,"name":"n%d","policy":{"store_response":%s}`, i, policy))
	}
	s.publish("SESSION:COMPLETE", "B", `{}`)
	s.until("an answer in the database", func() bool { return bytes.Contains(s.stored(), []byte(marker)) })
}

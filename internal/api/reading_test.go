package api_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

const (
	asForm = "application/x-www-form-urlencoded"
)

// A form says what the JSON says: PHP's cURL sends arrays as multipart, and the
// strings in PAVE's table suggest a form.
func TestABodyMayBeAForm(t *testing.T) {
	s := start(t).loosely()
	const want = `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://receiver.example/hook?a=1","method":"PUT","headers":{"Authorization":"Bearer x y","X-B":"2"},"payload":{"a":"1","list":["x","y"],"deep":{"er":"ü"}}}`
	fields := [][2]string{{"event", "SESSION:COMPLETE"}, {"url", "https://receiver.example/hook?a=1"}, {"method", "put"}, {"headers[Authorization]", "Bearer x y"}, {"headers[X-B]", "2"},
		{"payload[a]", "1"}, {"payload[list][]", "x"}, {"payload[list][]", "y"}, {"payload[deep][er]", "ü"},
		{"policy[timeout]", "10"}, {"policy[retry][0]", "0s"}, {"policy[retry][1]", "60"}, {"policy[rate]", "2.5"}, {"policy[keep_alive]", "0"}, {"unknown", "x"}}
	var pairs []string
	var parts bytes.Buffer
	form := multipart.NewWriter(&parts)
	for _, f := range fields {
		pairs = append(pairs, escape(f[0])+"="+escape(f[1]))
		if err := form.WriteField(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	form.Close()
	s.call("POST", "/v1/callbacks", strings.Join(pairs, "&"), set("Content-Type", asForm+"; charset=UTF-8")).is(200, want)
	s.call("POST", "/v1/callbacks", parts.String(), set("Content-Type", form.FormDataContentType())).is(200, want)
	p := decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200))
	equal(t, "the timeout of the form", p.Timeout, "10s")
	equal(t, "the retries of the form", p.Retry, []string{"0s", "1m0s"})
	equal(t, "the rate of the form", p.Rate, 2.5)
	equal(t, "whether the form keeps connections", p.KeepAlive, false)
	// Members that hold JSON, as the table has them; brackets that are not encoded.
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `url=https://receiver.example/&headers={"A":"b"}&payload=[]`, set("Content-Type", asForm)).
		is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://receiver.example/","method":"POST","headers":{"A":"b"},"payload":{}}`)
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `url=https://receiver.example/&headers[A]=b&headers[C]=d`, set("Content-Type", asForm)).
		is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://receiver.example/","method":"POST","headers":{"A":"b","C":"d"},"payload":{}}`)
	session := decode[wire.Session](s.call("POST", "/v1/sessions", "vehicle[vin]=1HGCM82633A004352&vehicle[year]=2003&language=FR", set("Content-Type", asForm)).ok(200))
	if session.Vehicle == nil || session.Vehicle.VIN == nil {
		t.Fatalf("the session of a form has the vehicle %+v, want one with a VIN", session.Vehicle)
	}
	equal(t, "the VIN of the form", *session.Vehicle.VIN, "1HGCM82633A004352")
	equal(t, "the language of the form", session.Language, "FR")
}

// curl says that every body is a form; what begins as JSON is JSON.
func TestJSONIsReadWhateverItsContentTypeIsCalled(t *testing.T) {
	s := start(t)
	for _, typ := range []string{"", "application/json; charset=utf-8", asForm, "text/plain", "application/octet-stream", "no type at all"} {
		s.call("POST", "/v1/callbacks", ` {"event":"SESSION:COMPLETE","url":"https://receiver.example/hook"}`, set("Content-Type", typ)).is(200, plain)
		s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S"}`, set("Content-Type", typ)).ok(202)
	}
}

func TestFormsThatMeanNothingAreRefused(t *testing.T) {
	s := start(t)
	type reject struct{ body, says string }
	many := strings.Repeat("a[]=1&", 1001)
	for name, c := range map[string]reject{
		"a member twice":      {"url=a&url=b", "The form has url twice"},
		"text and brackets":   {"headers=x&headers[a]=b", "The form has headers[a] twice"},
		"brackets and text":   {"headers[a]=b&headers=x", "The form has headers twice"},
		"open brackets":       {"headers[a=b", "brackets do not match"},
		"brackets and a rest": {"headers[a]b=c", "brackets do not match"},
		"a bad escape":        {"url=%zz", "The form is malformed"},
		"what is not UTF-8":   {"url=%ff", "The form is not valid UTF-8"},
		"too many fields":     {many, "more than 1,000 fields"},
		"too deep":            {"a" + strings.Repeat("[x]", 11) + "=1", "nests deeper than 10 levels"},
		"a wrong policy":      {"event=SESSION%3ACOMPLETE&url=https://a.example/&policy[nothing]=x", `Unknown member "nothing". policy has`},
		"a text for a number": {"event=SESSION%3ACOMPLETE&url=https://a.example/&policy[rate]=0x10", "policy.rate must be a number"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{t: t, url: s.url, store: s.store, key: s.key}
			s.call("POST", "/v1/callbacks", c.body, set("Content-Type", asForm)).says(400, c.says)
		})
	}
	// The message says that the body was read as a form, because clients may not know it.
	s.call("POST", "/v1/callbacks", "event=SESSION%3ACOMPLETE", set("Content-Type", asForm)).is(400, `{"message":"Missing required fields. The body was read as a form, and has event."}`)
	boundary := set("Content-Type", "multipart/form-data; boundary=x")
	s.call("POST", "/v1/callbacks", "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f.txt\"\r\n\r\n1\r\n--x--\r\n", boundary).says(400, "The form has a file")
	s.call("POST", "/v1/callbacks", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n", boundary).says(400, "The form is malformed")
	s.call("POST", "/v1/callbacks", "--x\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\nSESSION:COMPLETE\r\n--x--\r\n", boundary).is(400, `{"message":"Missing required fields. The body was read as a form, and has event."}`)
	s.call("POST", "/v1/callbacks", "a=b", set("Content-Type", "multipart/form-data")).says(400, "The form is malformed")
}

// The sample of PAVE's page, as it stands there.
func TestThePagesOwnSampleIsAccepted(t *testing.T) {
	s := start(t)
	const sample = `{"event":"SESSION:STAGE_CHANGE","url":"https://your_sms_callback_url","method":"POST","headers":{"Authorization":"Bearer <jwt_token>"},"payload":{"source":"PAVE"}}`
	s.call("POST", "/v1/callbacks", sample).is(200, `{"api_key":"KEY",`+sample[1:])
	s.call("GET", "/v1/callbacks/SESSION:STAGE_CHANGE", "").is(200, `{"api_key":"KEY","data":`+sample+`}`)
	for _, url := range []string{"http://my_app:3000/hook", "https://a--b.netlify.app/", "https://r3---sn.example/a%20b?x=%2F", "https://4f5e6a7b8c9d/x"} {
		s.call("PUT", "/v1/callbacks/SESSION:STAGE_CHANGE", `{"url":"`+url+`"}`).is(200, `{"api_key":"KEY","event":"SESSION:STAGE_CHANGE","url":"`+url+`","method":"POST","headers":{},"payload":{}}`)
	}
}

func TestHeadersMayBeHeaderLines(t *testing.T) {
	s := start(t)
	put := func(text string) reply {
		return s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://receiver.example/","headers":"`+text+`"}`)
	}
	s.register("SESSION:COMPLETE", "https://receiver.example/", "")
	for text, want := range map[string]string{
		`Authorization: Bearer x`:                 `{"Authorization":"Bearer x"}`,
		`X-A:1\r\nX-B: 2: \"3\" \r\n\r\n`:         `{"X-A":"1","X-B":"2: \"3\""}`,
		`\n  X-A :  1\n`:                          `{"X-A":"1"}`,
		` {\"Authorization\":\"Basic a:b\"}`:      `{"Authorization":"Basic a:b"}`,
		`SOAPAction: \"urn:x\"\nx-lower: y\nX-E:`: `{"SOAPAction":"\"urn:x\"","x-lower":"y","X-E":""}`,
	} {
		put(text).is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://receiver.example/","method":"POST","headers":`+want+`,"payload":{}}`)
	}
	put(`A: b\nno colon`).says(400, `headers has a line without a colon: "no colon"`)
	put(`A B: c`).says(400, `headers has a name "A B" that HTTP does not allow`)
	put(`Host: c`).says(400, "headers must not set Host")
	put(`A: 1\na: 2`).says(400, "headers names a twice")
}

func pack(t *testing.T, with func(io.Writer) io.WriteCloser, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := with(&b)
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBodiesMayBePacked(t *testing.T) {
	s := start(t).loosely()
	packers := map[string]func(io.Writer) io.WriteCloser{
		"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"X-Gzip":  func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"Deflate": func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 9); return f },
	}
	const body = `{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook"}`
	large := `{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook","x":"`
	large += strings.Repeat("x", callbackd.MaxBody-len(large)-2) + `"}`
	bomb := strings.Repeat(" ", 4*callbackd.MaxBody)
	for name, with := range packers {
		s.call("POST", "/v1/callbacks", pack(t, with, body), set("Content-Encoding", name)).is(200, plain)
		s.call("POST", "/v1/callbacks", pack(t, with, large), set("Content-Encoding", name)).is(200, plain)
		s.call("POST", "/v1/callbacks", pack(t, with, large+" "), set("Content-Encoding", name)).says(413, "larger than 1,048,576 bytes when it is unpacked")
		// It is not unpacked beyond the limit, so nobody sees that it ends in the middle there.
		packed := pack(t, with, bomb)
		s.call("POST", "/v1/callbacks", packed[:len(packed)*3/4], set("Content-Encoding", name)).says(413, "when it is unpacked")
		whole := pack(t, with, body)
		s.call("POST", "/v1/callbacks", whole[:len(whole)/2], set("Content-Encoding", name)).says(400, "is not what its Content-Encoding", "ends in the middle")
		s.call("POST", "/v1/callbacks", body, set("Content-Encoding", name)).says(400, "is not what its Content-Encoding")
		s.call("POST", "/v1/callbacks", "", set("Content-Encoding", name)).is(400, `{"message":"Missing required fields."}`)
	}
	s.call("POST", "/v1/callbacks", body, set("Content-Encoding", "identity")).is(200, plain)
	for _, name := range []string{"br", "zstd", "compress", "gzip, gzip", "gzip, br"} {
		r := s.call("POST", "/v1/callbacks", body, set("Content-Encoding", name)).says(415, name, "gzip, deflate")
		if a := r.header.Get("Accept-Encoding"); a != "gzip, deflate" {
			t.Errorf("Accept-Encoding: %q", a)
		}
	}
	// The bytes of an event's body are what its idempotency key stands for.
	for _, name := range []string{"gzip", "deflate", "br"} {
		r := s.call("POST", "/v1/events", body, set("Content-Encoding", name)).says(415, name)
		if a := r.header.Get("Accept-Encoding"); a != "identity" {
			t.Errorf("Accept-Encoding: %q", a)
		}
	}
}

// .NET and Windows write a byte order mark before UTF-8.
func TestAByteOrderMarkIsSkipped(t *testing.T) {
	const mark = "\ufeff"
	s := start(t).loosely()
	s.call("POST", "/v1/callbacks", mark).is(400, `{"message":"Missing required fields."}`)
	s.call("POST", "/v1/callbacks", mark+`{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook"}`).is(200, plain)
	s.call("POST", "/v1/callbacks", mark+"event=SESSION%3ACOMPLETE&url=https%3A%2F%2Freceiver.example%2Fhook", set("Content-Type", asForm)).is(200, plain)
	s.call("POST", "/v1/callbacks", pack(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, mark+`{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook"}`), set("Content-Encoding", "gzip")).is(200, plain)
	s.call("POST", "/v1/sessions", mark).ok(200)
	s.call("POST", "/v1/events", mark+`[{"event":"SESSION:COMPLETE","session_key":"S"}]`).ok(202)
}

// What stands for nothing: no body at all, null, and PHP's empty array.
func TestNothingIsNoBody(t *testing.T) {
	s := start(t).loosely()
	s.register("SESSION:COMPLETE", "https://receiver.example/hook", "")
	for _, body := range []string{``, ` `, `null`, `{}`, `[]`, ` [ ] `, `"[]"`, `"{}"`, `"null"`, `""`} {
		for _, typ := range []string{"application/json", asForm, ""} {
			s.call("POST", "/v1/callbacks", body, set("Content-Type", typ)).is(400, `{"message":"Missing required fields."}`)
			s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", body, set("Content-Type", typ)).is(400, `{"message":"Missing required fields."}`)
			s.call("POST", "/v1/callbacks/SESSION:COMPLETE/secret/rotate", body, set("Content-Type", typ)).ok(200)
			s.call("POST", "/v1/sessions", body, set("Content-Type", typ)).ok(200)
		}
	}
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
	for _, data := range []string{`[]`, `[ ]`, `"[]"`, `"{}"`, `{}`, `null`} {
		ev := s.publish("SESSION:COMPLETE", "S", data)
		if r := s.call("GET", "/v1/events/"+ev.ID, ""); !strings.Contains(r.body, `"data":{}`) {
			t.Errorf("data %s: %s", data, r.body)
		}
	}
	for _, data := range []string{`[1]`, `"x"`, `"{\"a\":1}"`, `7`, `true`} {
		s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":`+data+`}`).is(400, `{"message":"data must be a JSON object."}`)
	}
}

// POST /v1/events is callbackd's own, so a misspelt member is no member of
// another client's.
func TestAnUnknownMemberOfAnEventIsRefused(t *testing.T) {
	s := start(t)
	for _, member := range []string{`"Data":{}`, `"sessionKey":"x"`, `"payload":null`, `"idempotency_key":"x"`} {
		one := `{"event":"SESSION:COMPLETE","session_key":"S",` + member + `}`
		s.call("POST", "/v1/events", one).says(400, "Unknown member", "An event has event, session_key, data, id, deliver_at, expires_at, callback and test.")
		s.call("POST", "/v1/events", "["+one+"]").says(400, "Event 1 of the array", "Unknown member")
	}
	s.call("GET", "/v1/events", "").is(200, `{"data":[],"next":null}`)
}

func TestSlashesTooManyMakeNoDifference(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/v1/callbacks/", "/v1//callbacks", "//v1/callbacks", "//v1///callbacks//"} {
		s.call("POST", path, `{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook"}`).is(200, plain)
		s.call("GET", path, "").is(200, `{"api_key":"KEY","data":[`+strings.Replace(plain, `"api_key":"KEY",`, "", 1)+`]}`)
	}
	for _, path := range []string{"/v1/callbacks/SESSION%3ACOMPLETE/", "/v1/callbacks//SESSION:COMPLETE"} {
		s.call("GET", path, "").ok(200)
	}
	s.call("PATCH", "/v1/callbacks/", "").says(405, "This path allows GET, HEAD, POST.")
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE//", "").ok(200)
}

// A client may send a body that was too slow again, so the answer is 408 and not 400.
func TestASlowBodyIsAnswered408(t *testing.T) {
	t.Parallel() // it waits
	s := start(t, func(c *setup) { c.http = func(h *http.Server) { h.ReadTimeout = 300 * time.Millisecond } })
	for _, path := range []string{"/v1/events", "/v1/callbacks", "/v1/sessions"} {
		resp, body := s.raw(signedHead(s, "POST "+path, "Content-Length: 500") + `{"event":`)
		equal(t, path+": the status", resp.StatusCode, 408)
		equal(t, path+": the content type", resp.Header.Get("Content-Type"), "application/json")
		equal(t, path+": whether the connection is closed", resp.Close, true)
		equal(t, path+": the body", body, `{"message":"The body did not arrive in time. Send it again."}`+"\n")
	}
}

func signedHead(s *server, line string, headers ...string) string {
	req, _ := http.NewRequest("GET", s.url, nil)
	s.sign(req)
	var b strings.Builder
	req.Header.Write(&b)
	return line + " HTTP/1.1\r\nHost: x\r\n" + b.String() + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

// raw sends bytes and reads one answer.
func (s *server) raw(request string) (*http.Response, string) {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	go io.WriteString(c, request) // the answer may come before the end
	var asked *http.Request
	if strings.HasPrefix(request, "HEAD ") {
		asked = &http.Request{Method: http.MethodHead}
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), asked)
	if err != nil {
		s.t.Fatalf("%.60q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%.60q: %v", request, err)
	}
	return resp, string(body)
}

// Every answer is JSON, also those that net/http gives before a handler is
// called.
func TestAnswersToWhatIsNoRequestAreJSON(t *testing.T) {
	s := start(t)
	for name, c := range map[string]struct {
		request string
		status  int
		says    string
	}{
		"a large header":          {signedHead(s, "GET /v1/callbacks", "X-Big: "+strings.Repeat("a", 70_000)), 431, "headers are larger than"},
		"a large query":           {signedHead(s, "GET /v1/callbacks?x="+strings.Repeat("a", 70_000)), 431, "request line"},
		"two lengths":             {signedHead(s, "POST /v1/events", "Content-Length: 5\r\nContent-Length: 6") + "12345", 400, "not well-formed HTTP"},
		"a control character":     {signedHead(s, "GET /v1/callbacks", "X: a\x01b"), 400, "not well-formed HTTP"},
		"a bad escape":            {signedHead(s, "GET /v1/callbacks/%zz"), 400, "a percent sign is %25"},
		"a space in a path":       {signedHead(s, "GET /v1/sessions/a b"), 400, "a space is %20"},
		"no host":                 {"GET /v1/callbacks HTTP/1.1\r\n\r\n", 400, "missing required Host header"},
		"two hosts":               {"GET /v1/callbacks HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "not well-formed HTTP"},
		"no HTTP":                 {"hello\r\n\r\n", 400, "not well-formed HTTP"},
		"another HTTP":            {"GET / HTTP/3.7\r\nHost: x\r\n\r\n", 505, "HTTP/1.1"},
		"an unknown encoding":     {signedHead(s, "POST /v1/events", "Transfer-Encoding: gzip") + "x", 501, "Transfer-Encoding"},
		"an unknown expectation":  {signedHead(s, "POST /v1/events", "Expect: x\r\nContent-Length: 0"), 417, "Expect"},
		"all of it":               {signedHead(s, "OPTIONS *"), 404, "nothing at this path"},
		"a tunnel":                {"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", 404, "nothing at this path"},
		"another server's path":   {signedHead(s, "GET http://a.example/nothing"), 404, "nothing at this path"},
		"a method of nobody":      {signedHead(s, "BREW /v1/callbacks"), 405, "GET, HEAD, POST"},
		"a path with dots":        {signedHead(s, "GET /v1/../v1/callbacks"), 404, "nothing at this path"},
		"chunks that are none":    {signedHead(s, "POST /v1/events", "Transfer-Encoding: chunked") + "zz\r\n", 400, "did not arrive completely"},
		"a length that is a word": {signedHead(s, "POST /v1/events", "Content-Length: many"), 400, "not well-formed HTTP"},
	} {
		resp, body := s.raw(c.request)
		equal(t, name+": the status", resp.StatusCode, c.status)
		equal(t, name+": the content type", resp.Header.Get("Content-Type"), "application/json")
		if !strings.HasPrefix(body, `{"message":"`) {
			t.Errorf("%s: the body is %s, want one with a message", name, body)
		}
		contains(t, name+": the body", body, c.says)
	}
}

// What follows a request with two lengths on its connection may be another
// visitor's: it is not answered.
func TestNothingFollowsARequestInChunks(t *testing.T) {
	s := start(t)
	for name, framing := range map[string]string{
		"both lengths": "1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", "chunks": "1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
		"both in HTTP/1.0": "1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"a coding unknown": "1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
		"two lengths":      "1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "POST /v1/events HTTP/"+framing+"\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		answers, err := io.ReadAll(c)
		if n := strings.Count(string(answers), "HTTP/1."); err != nil || n != 1 {
			t.Errorf("%s: %d answers, %v: %s", name, n, err, answers)
		}
		c.Close()
	}
}

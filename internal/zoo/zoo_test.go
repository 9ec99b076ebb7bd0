package zoo_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"callbackd/internal/zoo"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// open starts a zoo that hands over its visits.
func open(t *testing.T) (*zoo.Zoo, chan zoo.Visit, *x509.CertPool) {
	t.Helper()
	visits := make(chan zoo.Visit, 16)
	z, err := zoo.Open("127.0.0.1:0", func(v zoo.Visit) { visits <- v })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(z.CA()) {
		t.Fatal("no certificate")
	}
	return z, visits, roots
}

func urlOf(t *testing.T, z *zoo.Zoo, name string) string {
	for _, x := range z.Exhibits() {
		if x.Name == name {
			return x.URL
		}
	}
	t.Fatalf("there is no exhibit %s", name)
	return ""
}

func TestTheIndexPageHasEveryExhibit(t *testing.T) {
	z, _, _ := open(t)
	resp, err := http.Get(z.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, x := range z.Exhibits() {
		if names[x.Name] {
			t.Errorf("%s is there twice", x.Name)
		}
		names[x.Name] = true
		if x.Does == "" || x.Good == "" || !strings.Contains(string(page), "<code>"+x.URL+"</code>") {
			t.Errorf("%s is not on the page, or says too little: %+v", x.Name, x.Exhibit)
		}
	}
	if len(names) < 68 {
		t.Errorf("%d exhibits", len(names))
	}
	for path, want := range map[string]int{"ca.pem": 200, "nothing": 404} {
		resp, err := http.Get(z.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || path == "ca.pem" && !bytes.Equal(body, z.CA()) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// A sender that does what it must not do is caught, so the exhibits are what they say.
func TestABadSenderIsCaught(t *testing.T) {
	z, visits, _ := open(t)
	bad := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}}}
	noHandshake := []string{"tls-garbage", "tls-alert-flood", "tls-long-chain"} // crypto/tls has limits of its own
	for _, x := range z.Exhibits() {
		redirect := strings.HasPrefix(x.Name, "redirect-3") && x.Name != "redirect-300"
		badTLS := x.Fault == "tls" && !slices.Contains(noHandshake, x.Name)
		if !redirect && !badTLS {
			continue
		}
		resp, err := bad.Post(x.URL, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Errorf("%s: %v", x.Name, err)
			continue
		}
		resp.Body.Close()
		v := <-visits
		if redirect {
			// A visit is told when its handler has returned, which may be after the visit of the redirect's target.
			first, second := v, <-visits
			if first.Exhibit != x.Name {
				first, second = second, first
			}
			if first.Caught || first.Exhibit != x.Name {
				t.Errorf("%s: %+v", x.Name, first)
			}
			v = second
		}
		if !v.Caught || badTLS && v.Exhibit != x.Name {
			t.Errorf("%s: the sender is not caught: %+v", x.Name, v)
		}
	}
}

// A sender that speaks HTTP/2 gets the faults.
func TestTheFaultsOfHTTP2(t *testing.T) {
	z, visits, roots := open(t)
	for name, tt := range map[string]struct {
		frame http2.FrameType
		n     int
	}{
		"http2-reset-stream": {http2.FrameRSTStream, 1}, "http2-goaway": {http2.FrameGoAway, 1},
		"http2-ping-flood": {http2.FramePing, 1000}, "http2-settings-flood": {http2.FrameSettings, 1000},
	} {
		url := urlOf(t, z, name)
		c, err := tls.Dial("tcp", strings.Split(url, "/")[2], &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, http2.ClientPreface)
		f := http2.NewFramer(c, c)
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for _, h := range []string{":method POST", ":scheme https", ":authority zoo", ":path /"} {
			k, v, _ := strings.Cut(h, " ")
			enc.WriteField(hpack.HeaderField{Name: k, Value: v})
		}
		f.WriteSettings()
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		for n := 0; n < tt.n; {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatalf("%s: %v after %d", name, err, n)
			}
			if frame.Header().Type == tt.frame {
				n++
			}
		}
		c.Close()
		if v := <-visits; v.Exhibit != name {
			t.Errorf("%+v", v)
		}
	}
}

// The zoo ends with its visitors.
func TestCloseEndsVisits(t *testing.T) {
	z, visits, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", urlOf(t, z, "slow-body"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z.Close()
	if v := <-visits; v.Exhibit != "slow-body" {
		t.Errorf("%+v", v)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the body is complete")
	}
}

func TestWhereAZooCannotBe(t *testing.T) {
	for _, at := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65535", "192.0.2.1:0"} {
		if z, err := zoo.Open(at, nil); err == nil {
			z.Close()
			t.Errorf("%q: no error", at)
		}
	}
}

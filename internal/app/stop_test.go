package app

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"callbackd"
	"callbackd/client"
)

// A stop ends the connections that wait for their next use as TLS wants it.
func TestAStopSaysGoodbyeToReceivers(t *testing.T) {
	trusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer trusted.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: trusted.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answered, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer c.Close()
		ended <- serveOnce(c, answered)
	}()
	dir := t.TempDir()
	cl := filled(t, dir, "https://"+l.Addr().String(), 0)
	cfg := config(dir)
	cfg.Roots = trusted.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	a, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cl.Base = a.URL()
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: string(callbackd.StatusChange), SessionKey: "new"}); err != nil {
		t.Fatal(err)
	}
	<-answered
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the receiver sees %v, want the end that TLS announces", err)
	}
}

// serveOnce answers one request and returns what comes instead of a second.
func serveOnce(c net.Conn, answered chan<- struct{}) error {
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
		return err
	}
	close(answered)
	_, err = r.ReadByte()
	return err
}

package cli

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestZooCommand(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, printed := io.Pipe()
	ca, code := filepath.Join(t.TempDir(), "ca.pem"), make(chan int, 1)
	go func() {
		code <- Main(ctx, []string{"zoo", "--listen", "127.0.0.1:0", "--zoo-ca-file", ca}, printed, io.Discard)
		printed.Close()
	}()
	lines := bufio.NewScanner(out)
	redirect := ""
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "zoo on http://127.0.0.1:") {
		if url, _, _ := strings.Cut(lines.Text(), " "); strings.HasSuffix(url, "/redirect-307") {
			redirect = url
		}
	}
	go func() {
		if resp, err := http.Get(redirect); err == nil {
			resp.Body.Close()
		}
	}()
	// The second request may end before the first one, and so may their lines.
	said := ""
	for range 2 {
		lines.Scan()
		said += lines.Text() + "\n"
	}
	for _, want := range []string{"  redirect-307 ", "CAUGHT: the sender did what it must not do"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q, want %q", said, want)
		}
	}
	stop()
	go io.Copy(io.Discard, out)
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
	if pem, err := os.ReadFile(ca); err != nil || !strings.HasPrefix(string(pem), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("%v %s", err, pem)
	}
	if got := Main(t.Context(), []string{"zoo", "--listen", "127.0.0.1"}, io.Discard, io.Discard); got != exitFailed {
		t.Errorf("exit code %d for an address without a port", got)
	}
}

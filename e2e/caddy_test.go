package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// domain is the host name of the Caddyfiles that the project ships.
const domain = "callbacks.example.com"

// caddy runs Caddy with a site of a Caddyfile before a server, and returns its address and the
// authority of its certificate, which is Caddy's own in the place of a public one.
func caddy(t *testing.T, site string) (address string, certificates *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	address = freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "Caddyfile")
	conf := fmt.Sprintf("{\n\tadmin off\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n\thttps_port %s\n\tstorage file_system %s\n}\n%s", port, dir, site)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("caddy", "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "DOMAIN=" + domain}
	untilListens(t, cmd, address)
	certificates = &tls.Config{RootCAs: x509.NewCertPool()}
	// Caddy listens before it has the certificate.
	eventually(t, "Caddy has its certificate", func() bool {
		root, err := os.ReadFile(filepath.Join(dir, "pki", "authorities", "local", "root.crt"))
		if err != nil || !certificates.RootCAs.AppendCertsFromPEM(root) {
			return false
		}
		c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: certificates.RootCAs, ServerName: domain})
		return err == nil && c.Close() == nil
	})
	return address, certificates
}

// What docs/proxy.md says of Caddy holds: with the configuration there, the console works, its
// cookie is Secure, the visitor's address is known whatever it claims, and streams arrive at once.
func TestBehindCaddyAsTheDocumentsSay(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("docs/proxy.md has no configuration for Caddy")
	}
	behindCaddy(t, string(m[1]), "127.0.0.1:8080")
}

// The Caddyfile of deploy/compose does the same.
func TestBehindCaddyOfCompose(t *testing.T) {
	t.Parallel()
	site, err := os.ReadFile(deployed + "compose/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	behindCaddy(t, string(site), "callbackd:8080")
}

// behindCaddy checks a site that leads to the address example.
func behindCaddy(t *testing.T, site, example string) {
	t.Helper()
	if !strings.Contains(site, example) {
		t.Fatalf("the site does not lead to %s:\n%s", example, site)
	}
	backend := freeAddress(t)
	address, certificates := caddy(t, strings.ReplaceAll(site, example, backend))
	behind(t, backend, address, "https://"+domain, "", certificates)
}

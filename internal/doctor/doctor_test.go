package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/mail"
	"callbackd/internal/store"
)

var at = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// noStore is an opener of a place where there is no store.
type noStore struct{}

func (noStore) Survey(context.Context, func() time.Time) (store.Survey, error) {
	return store.Survey{}, nil
}
func (noStore) Inspect(context.Context) (store.Store, error) { return nil, errors.New("no store") }

// sound returns what a sound server on a data directory is like.
func sound(t *testing.T) *patient {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"callbackd.db", "callbackd.db-wal", "secret-keys.json"} {
		write(t, filepath.Join(dir, name), "")
	}
	m := ThisMachine()
	m.Now = func() time.Time { return at }
	m.Synchronized = func() (bool, bool) { return true, true }
	m.Volume = func(string) (Volume, error) { return Volume{Free: 100 << 30, Size: 200 << 30, Nodes: 1 << 20}, nil }
	m.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{IsNotFound: true}
	}
	m.Dial = new(net.Dialer).DialContext
	m.Answers = func(context.Context, string) error { return errors.New("no answer") }
	m.Roots = func() (*x509.CertPool, error) {
		pool := x509.NewCertPool()
		pool.AddCert(certificate(t, at.AddDate(1, 0, 0)).Leaf)
		return pool, nil
	}
	m.Descriptors, m.GoMemory, m.Units = 65536, math.MaxInt64, []string{t.TempDir()}
	return &patient{Machine: m, Settings: Settings{
		Data: dir, Keyset: filepath.Join(dir, "secret-keys.json"), Listen: "127.0.0.1:0",
		MaxInFlight: 4096, Grace: 20 * time.Second, Lease: 10 * time.Second, NodeConnections: 15,
	}}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, file string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

// certificate returns a self-signed one that ends at a time.
func certificate(t *testing.T, ends time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "one"}, NotBefore: at.AddDate(-1, 0, 0), NotAfter: ends, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pemOf(c tls.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
}

// closedPort returns an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serveTLS answers TLS handshakes with a certificate.
func serveTLS(t *testing.T, c tls.Certificate) *url.URL {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { conn.(*tls.Conn).Handshake(); conn.Close() }()
		}
	}()
	return &url.URL{Scheme: "https", Host: l.Addr().String()}
}

func node(id callbackd.NodeID, name, inner string) store.Node {
	return store.Node{ID: id, Name: name, Inner: inner, Version: "1"}
}

// onPostgres makes p a node on PostgreSQL.
func onPostgres(p *patient) *store.ServerSurvey {
	p.Database, p.opened, p.audit = true, true, audited(3, false)
	s := &store.ServerSurvey{Version: 150004, Connections: 97, Settings: map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"}}
	p.survey = store.Survey{Made: true, Schema: 3, Program: 3, Server: s}
	return s
}

// audited returns the result of a check of the audit log.
func audited(entries int64, partly bool, faults ...string) *store.AuditReport {
	r := &store.AuditReport{Entries: entries, Partly: partly}
	for _, f := range faults {
		r.Fault("%s", f)
	}
	return r
}

func file(p *patient, name string) string { return filepath.Join(p.Data, name) }

// cases make one problem each. Without it every check is ok.
var cases = []struct {
	name, check string
	level       Level
	says        string // part of the message
	spoil       func(*testing.T, *patient)
}{
	{"wrong settings", "settings", Problem, "--grace", func(_ *testing.T, p *patient) { p.Err = errors.New("--grace -1s is negative") }},
	{"a full disk", "disk", Problem, "are free", func(_ *testing.T, p *patient) {
		p.Volume = func(string) (Volume, error) { return Volume{Free: 20 << 20, Nodes: 99}, nil }
	}},
	{"little room", "disk", Warning, "are free", func(_ *testing.T, p *patient) {
		p.Volume = func(string) (Volume, error) { return Volume{Free: 200 << 20, Nodes: 99}, nil }
	}},
	{"no inodes", "disk", Problem, "3 files", func(_ *testing.T, p *patient) {
		p.Volume = func(string) (Volume, error) { return Volume{Free: 99 << 30, Nodes: 3}, nil }
	}},
	{"a network file system", "disk", Problem, "NFS", func(_ *testing.T, p *patient) {
		p.Volume = func(string) (Volume, error) {
			return Volume{Free: 99 << 30, Nodes: 99, Kind: Network, Name: "NFS"}, nil
		}
	}},
	{"the layer of a container", "disk", Warning, "lost with the container", func(_ *testing.T, p *patient) {
		p.Volume = func(string) (Volume, error) { return Volume{Free: 99 << 30, Nodes: 99, Kind: Layer}, nil }
	}},
	{"an archive that is a file", "archive", Problem, "not a folder", func(_ *testing.T, p *patient) { p.Archive = p.Keyset }},
	{"an archive on a full disk", "archive", Problem, "retention waits", func(_ *testing.T, p *patient) {
		p.Archive = p.Data + "/archive"
		p.Volume = func(string) (Volume, error) { return Volume{Free: 20 << 20, Nodes: 99}, nil }
	}},
	{"an archive that is not writable", "archive", Problem, "may not write", func(_ *testing.T, p *patient) {
		p.Archive = p.Data
		p.Access = func(string) error { return errors.New("read-only file system") }
	}},
	{"no data directory", "permissions", Warning, "no data directory", func(_ *testing.T, p *patient) { p.Data += "/none" }},
	{"a file as data directory", "permissions", Problem, "not a folder", func(_ *testing.T, p *patient) { p.Data = file(p, "callbackd.db") }},
	{"an open keyset", "permissions", Problem, "0644", func(t *testing.T, p *patient) { chmod(t, p.Keyset, 0o644) }},
	{"an open database", "permissions", Problem, "0644", func(t *testing.T, p *patient) { chmod(t, file(p, "callbackd.db"), 0o644) }},
	{"an open log of the database", "permissions", Problem, "-wal has the mode 0644", func(t *testing.T, p *patient) { chmod(t, file(p, "callbackd.db-wal"), 0o644) }},
	{"another owner", "permissions", Problem, "belongs to user ID 65534", func(t *testing.T, p *patient) {
		if os.Geteuid() == 0 {
			if err := os.Chown(file(p, "callbackd.db"), 65534, 65534); err != nil {
				t.Fatal(err)
			}
			return
		}
		real := p.Stat // only root gives files away
		p.Stat = func(path string) (File, error) {
			f, err := real(path)
			if path == file(p, "callbackd.db") {
				f.Owner = 65534
			}
			return f, err
		}
	}},
	{"a store that does not open", "store", Problem, "newer", func(_ *testing.T, p *patient) { p.surveyErr = store.NewerSchema(9, 8) }},
	{"an older schema", "store", Warning, "schema 2, this one needs 3", func(_ *testing.T, p *patient) { p.survey = store.Survey{Made: true, Schema: 2, Program: 3} }},
	{"an old server", "store", Problem, "PostgreSQL 14", func(_ *testing.T, p *patient) { onPostgres(p).Version = 140011 }},
	{"no fsync", "store", Problem, "fsync is off", func(_ *testing.T, p *patient) { onPostgres(p).Settings["fsync"] = "off" }},
	{"no synchronous commit", "store", Warning, "synchronous_commit is off", func(_ *testing.T, p *patient) { onPostgres(p).Settings["synchronous_commit"] = "off" }},
	{"no autovacuum", "store", Problem, "autovacuum", func(_ *testing.T, p *patient) { onPostgres(p).Settings["autovacuum"] = "off" }},
	{"too few connections", "store", Problem, "29 connections for callbackd, and 2 nodes use up to 30", func(_ *testing.T, p *patient) {
		onPostgres(p).Connections = 29
		p.nodes = []store.Node{node(1, "a", ""), node(2, "b", "")}
	}},
	{"a key that is missing", "keyset", Problem, "the key 7 has sealed 2 secrets in the store", func(_ *testing.T, p *patient) {
		p.opened, p.keys = true, callbackd.ParseKeyset("5*")
		p.sealed = store.SealedCounts{Secrets: 3, ByKey: map[callbackd.SealingKey]int64{5: 1, 7: 2}, FaultN: 2}
	}},
	{"damaged secrets", "keyset", Problem, "does not open 1 secret in the store", func(_ *testing.T, p *patient) {
		p.opened, p.keys = true, callbackd.ParseKeyset("5*")
		p.sealed = store.SealedCounts{Secrets: 3, ByKey: map[callbackd.SealingKey]int64{5: 3}, FaultN: 1}
	}},
	{"a node with another keyset", "keyset", Problem, "the node b lacks the key 5", func(_ *testing.T, p *patient) {
		onPostgres(p)
		p.keys = callbackd.ParseKeyset("5*")
		p.nodes = []store.Node{node(1, "b", "")}
		p.nodes[0].Keyset = callbackd.ParseKeyset("4*")
	}},
	{"a rotation that has not ended", "keyset", Warning, "the key 6", func(_ *testing.T, p *patient) {
		p.opened, p.keys = true, callbackd.ParseKeyset("5* 6")
	}},
	{"a changed audit log", "audit", Problem, "entry 2 of the audit log of API key 1 was changed", func(_ *testing.T, p *patient) {
		p.opened, p.audit = true, audited(9, false, "entry 2 of the audit log of API key 1 was changed")
	}},
	{"an audit log with many faults", "audit", Problem, "the audit log has 2 faults more", func(_ *testing.T, p *patient) {
		p.opened, p.audit = true, audited(9, true, "a", "b", "c", "d", "e")
	}},
	{"an audit log that is not readable", "audit", Problem, "cannot be verified: sealed with the key 7", func(_ *testing.T, p *patient) {
		p.opened, p.auditErr = true, errors.New("sealed with the key 7")
	}},
	{"another clock than the database's", "clock", Problem, "1 h behind", func(_ *testing.T, p *patient) {
		onPostgres(p)
		p.survey.Ahead = -time.Hour
	}},
	{"an event of the future", "clock", Problem, "the newest event in the store is 1 h", func(_ *testing.T, p *patient) {
		p.survey = store.Survey{Made: true, Newest: at.Add(time.Hour)}
	}},
	{"a clock from before", "clock", Problem, "1970-01-01", func(_ *testing.T, p *patient) { p.Now = func() time.Time { return time.Unix(0, 0) } }},
	{"a clock that nobody sets", "clock", Warning, "not synchronized", func(_ *testing.T, p *patient) { p.Synchronized = func() (bool, bool) { return false, true } }},
	{"two nodes at an address", "nodes", Problem, "the nodes 1 (a), 2 (b) all say", func(_ *testing.T, p *patient) {
		onPostgres(p)
		p.nodes = []store.Node{node(1, "a", "10.0.0.1:8081"), node(2, "b", "10.0.0.1:8081")}
	}},
	{"a node at a loopback address", "nodes", Problem, "127.0.0.1:8081 only", func(t *testing.T, p *patient) {
		onPostgres(p)
		p.nodes = []store.Node{node(1, "a", "127.0.0.1:8081"), node(2, "b", "")}
	}},
	{"a node that is not reached", "nodes", Warning, "cannot be reached from here", func(t *testing.T, p *patient) {
		onPostgres(p)
		p.nodes = []store.Node{node(1, "a", closedPort(t))}
	}},
	{"a node with a wrong clock", "nodes", Problem, "owns no shards", func(_ *testing.T, p *patient) {
		onPostgres(p)
		p.nodes = []store.Node{node(1, "a", "")}
		p.nodes[0].Skew = -time.Hour
	}},
	{"another program at the address", "address", Problem, "no callbackd answers there", func(t *testing.T, p *patient) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		p.Settings.Listen = l.Addr().String()
	}},
	{"an address of another machine", "address", Problem, "cannot listen on", func(_ *testing.T, p *patient) { p.Settings.Listen = "192.0.2.1:8080" }},
	{"a resolver that is down", "dns", Problem, "do not answer", func(t *testing.T, p *patient) {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", closedPort(t))
		}}
		p.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return r.LookupNetIP(ctx, "ip", host)
		}
	}},
	{"a host that does not exist", "dns", Warning, "hook.example", func(_ *testing.T, p *patient) { p.hosts = []string{"hook.example"} }},
	{"a proxy that is down", "egress", Problem, "cannot be reached", func(t *testing.T, p *patient) {
		p.Proxy = &url.URL{Scheme: "http", Host: closedPort(t)}
	}},
	{"no route", "egress", Warning, "no route", func(_ *testing.T, p *patient) {
		p.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ENETUNREACH }
	}},
	{"no authorities", "certificates", Problem, "trusts no certificate authority", func(_ *testing.T, p *patient) {
		p.Roots = func() (*x509.CertPool, error) { return x509.NewCertPool(), nil }
	}},
	{"an authority that has ended", "certificates", Problem, "--ca-file", func(t *testing.T, p *patient) {
		p.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		write(t, p.CAFile, pemOf(certificate(t, at.AddDate(0, 0, -1))))
	}},
	{"a client certificate that ends soon", "certificates", Warning, "callback 3", func(t *testing.T, p *patient) {
		p.clients = []clientCert{{"callback 3", pemOf(certificate(t, at.AddDate(0, 0, 9)))}}
	}},
	{"a mail server that is not there", "mail", Problem, "the mail server cannot be used", func(t *testing.T, p *patient) {
		server, err := mail.ParseURL("smtps://u:p@" + closedPort(t))
		if err != nil {
			t.Fatal(err)
		}
		p.Mail = &mail.Sender{Server: server, From: "a@example.com", To: []string{"b@example.com"}}
	}},
	{"a public certificate that ends soon", "certificates", Warning, "--public-url", func(t *testing.T, p *patient) {
		p.PublicURL = serveTLS(t, certificate(t, at.AddDate(0, 0, 9)))
	}},
	{"few files", "files", Problem, "512 files", func(_ *testing.T, p *patient) { p.Descriptors = 512 }},
	{"fewer files than attempts", "files", Warning, "--max-in-flight 4096", func(_ *testing.T, p *patient) { p.Descriptors = 4096 }},
	{"little memory", "memory", Warning, "268 MB", func(_ *testing.T, p *patient) { p.Memory = 256 << 20 }},
	{"no room besides Go's memory", "memory", Problem, "GOMEMLIMIT", func(_ *testing.T, p *patient) { p.Memory, p.GoMemory = 1<<30, 1<<30 }},
	{"a unit with few files", "systemd", Problem, "may open 512 files", unitWith("LimitNOFILE=512")},
	{"a unit that kills early", "systemd", Warning, "10s after a stop", unitWith("TimeoutStopSec=10")},
	{"a unit without a data directory", "systemd", Problem, "/srv/callbackd (ProtectSystem=strict)", unitWith("ProtectSystem=strict\nStateDirectory=callbackd\nEnvironment=CALLBACKD_DATA=/srv/callbackd")},
	{"a unit whose data is at home", "systemd", Problem, "ProtectHome=yes", unitWith("ProtectHome=yes\nExecStart=/bin/callbackd serve --data /home/me/data")},
	{"a unit of a user for a while", "systemd", Problem, "DynamicUser=yes", unitWith("DynamicUser=yes")},
}

// unitWith installs a unit.
func unitWith(lines string) func(*testing.T, *patient) {
	return func(t *testing.T, p *patient) {
		write(t, filepath.Join(p.Units[0], "callbackd.service"), "[Service]\n"+lines+"\n")
	}
}

// Each check finds the problem that is made, and says what to do. Without a problem it is ok.
func TestEachCheckFindsItsProblem(t *testing.T) {
	checked := map[string]bool{}
	for _, c := range cases {
		checked[c.check] = true
		t.Run(c.name, func(t *testing.T) {
			p := sound(t)
			if c.spoil(t, p); c.level == OK {
				t.Fatal("a case without a level")
			}
			found := false
			for _, check := range checks {
				if check.name != c.check {
					continue
				}
				for _, f := range check.run(t.Context(), p) {
					found = found || f.Level == c.level && strings.Contains(f.Message, c.says) && f.Remedy != ""
					t.Log(f)
				}
			}
			if !found {
				t.Errorf("no %s of %s says %q", c.level, c.check, c.says)
			}
		})
	}
	for _, c := range checks {
		if !checked[c.name] {
			t.Errorf("no case spoils what %s checks", c.name)
		}
	}
}

func TestNothingIsFoundInASoundPlace(t *testing.T) {
	for name, change := range map[string]func(*patient){"a data directory": func(*patient) {}, "PostgreSQL": func(p *patient) { onPostgres(p) }} {
		p := sound(t)
		change(p)
		for _, c := range checks {
			for _, f := range c.run(t.Context(), p) {
				if f.Level != OK && c.name != "egress" { // a machine of tests may have no route
					t.Errorf("%s: %s: %+v", name, c.name, f)
				}
			}
		}
	}
}

// What was not verified is not called right.
func TestAPartOfTheAuditLogIsNotAllOfIt(t *testing.T) {
	p := sound(t)
	p.opened, p.audit = true, audited(1200, true)
	if f := checkAudit(t.Context(), p); len(f) != 1 || f[0].Level != OK || !strings.Contains(f[0].Message, "only some of its entries (1,200) were verified within 5 s") {
		t.Errorf("%+v", f)
	}
}

// The units in deploy/ fit.
func TestTheUnitsOfDeployFit(t *testing.T) {
	p := sound(t)
	p.Units = []string{filepath.Join("..", "..", "deploy", "systemd")}
	if f := checkUnits(t.Context(), p); len(f) != 1 || f[0].Level != OK || !strings.Contains(f[0].Message, "callbackd@.service") {
		t.Errorf("%+v", f)
	}
}

// A drop-in wins over the unit, and an empty value empties a list.
func TestDropInsCount(t *testing.T) {
	p := sound(t)
	unitWith("LimitNOFILE=512\nReadWritePaths=/srv\nProtectSystem=strict\nEnvironment=CALLBACKD_DATA=/srv/x")(t, p)
	if err := os.Mkdir(filepath.Join(p.Units[0], "callbackd.service.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(p.Units[0], "callbackd.service.d", "10.conf"), "[Service]\nLimitNOFILE=65536\nReadWritePaths=\n")
	f := checkUnits(t.Context(), p)
	if len(f) != 1 || !strings.Contains(f[0].Message, "/srv/x (ProtectSystem=strict)") {
		t.Errorf("%+v", f)
	}
}

// The text has a line for each finding, its remedy below, no control characters of others,
// and colours only when they are asked for.
func TestPrint(t *testing.T) {
	p := sound(t)
	p.Err = errors.New("bad\x1b[2J value")
	r := Run(t.Context(), p.Settings, p.Machine, noStore{})
	if r.Problems != 1 || r.Findings[0].Level != Problem {
		t.Fatalf("%+v", r)
	}
	var text, colour strings.Builder
	if err := errors.Join(r.Print(&text, false), r.Print(&colour, true)); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); strings.Contains(s, "\x1b") || !strings.HasPrefix(s, "problem  settings      bad") || !strings.Contains(s, "\n                       → Change") || !strings.Contains(s, "\n\n1 problem, ") {
		t.Errorf("%s", s)
	}
	if !strings.HasPrefix(colour.String(), "\x1b[31mproblem\x1b[0m  settings") {
		t.Errorf("%q", colour.String())
	}
}

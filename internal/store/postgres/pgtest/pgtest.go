// Package pgtest gives tests a PostgreSQL of their own: one private server for each test
// process, and a database for each test. No test crashes that server, and it syncs
// nothing to disk: its data is in memory if the machine has room for it. A server that a
// test starts for itself has its data in a temporary directory and syncs it, as in
// production. A test fails when the server cannot start; it never skips.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL.
type Server struct {
	Dir  string // the data directory
	Port int    // on 127.0.0.1
	bin  string
	as   *syscall.Credential
	cmd  *exec.Cmd
	done chan struct{}
}

var (
	mu     sync.Mutex
	shared *Server
	schema atomic.Int64
)

// Main runs the tests of a package, calls ends, and stops the server that the tests used.
func Main(m *testing.M, ends ...func()) {
	code := m.Run()
	for _, end := range ends {
		end()
	}
	mu.Lock()
	defer mu.Unlock()
	if shared != nil {
		shared.Stop()
	}
	os.Exit(code)
}

// URL returns an empty database for one test: a schema of the shared server. With
// -short the test is skipped.
func URL(t testing.TB) string {
	t.Helper()
	return sharedServer(t).Schema(t)
}

// sharedServer returns the server of all tests of the process. The first call starts it.
func sharedServer(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs PostgreSQL, which -short leaves out")
	}
	mu.Lock()
	defer mu.Unlock()
	if shared == nil {
		s, err := start(inMemory(), "fsync=off", "full_page_writes=off")
		if err != nil {
			t.Fatalf("PostgreSQL does not start: %v", err)
		}
		shared = s
	}
	return shared
}

// Schema creates a schema and returns its URL.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("t%d", schema.Add(1))
	conn, err := pgx.Connect(t.Context(), s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}

// Database creates a database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("d%d", schema.Add(1))
	conn, err := pgx.Connect(t.Context(), s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.database(name)
}

// URL returns the URL of the server; schema may be empty.
func (s *Server) URL(schema string) string {
	u := url.URL{Scheme: "postgres", User: url.User("callbackd"), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), Path: "/postgres"}
	q := url.Values{"sslmode": {"disable"}}
	if schema != "" {
		q.Set("search_path", schema)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Start starts a server on a free port with an empty database. Settings have the form
// name=value.
func Start(settings ...string) (*Server, error) { return start(os.TempDir(), settings...) }

// inMemory returns a folder whose files are in memory, or the usual one when the machine
// has none with enough room. A database is hundreds of files, and making them on a disk
// takes more time than the tests need for what they do with them.
func inMemory() string {
	const folder, room = "/dev/shm", 2 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return os.TempDir()
	}
	return folder
}

// folderPrefix begins the names of the folders of servers; the ID of the test process
// follows.
const folderPrefix = "callbackd-pg-"

// removeAbandoned removes the data of servers whose test process was killed, because it
// may take memory.
func removeAbandoned(folder string) {
	left, _ := filepath.Glob(filepath.Join(folder, folderPrefix+"*"))
	for _, dir := range left {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), folderPrefix), "-")
		if pid, err := strconv.Atoi(text); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = os.RemoveAll(dir) // after an error the next process tries again
		}
	}
}

// start is Start with the data in a new folder within folder.
func start(folder string, settings ...string) (*Server, error) {
	removeAbandoned(folder)
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(folder, fmt.Sprintf("%s%d-", folderPrefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: filepath.Join(dir, "data"), bin: bin}
	if s.as, err = owner(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s.begin(settings, "initdb", "-D", s.Dir, "-U", "callbackd", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
}

// begin makes the data directory by a command and runs the server.
func (s *Server) begin(settings []string, name string, args ...string) (*Server, error) {
	out, err := s.Command(name, args...).CombinedOutput()
	if err == nil {
		out, err = nil, s.Run(settings...)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w %s", err, out), os.RemoveAll(filepath.Dir(s.Dir)))
	}
	return s, nil
}

// binaries returns the directory of the newest installed PostgreSQL.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("there is no PostgreSQL: install Debian's package postgresql")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

// owner gives dir to the user that the server runs as, because PostgreSQL refuses to run
// as root.
func owner(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
	}
	return nil, errors.New("no unprivileged user to run PostgreSQL as")
}

// Command returns a command of PostgreSQL, of the server's version.
func (s *Server) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = filepath.Dir(s.Dir)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// Run starts the server on its data directory and waits until it answers.
func (s *Server) Run(settings ...string) error {
	var err error
	for range 5 { // the port may be taken between the choice and the start
		if s.Port == 0 {
			if s.Port, err = freePort(); err != nil {
				return err
			}
		}
		if err = s.run(settings); err == nil {
			return nil
		}
		s.Port = 0
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *Server) run(settings []string) error {
	args := []string{"-D", s.Dir}
	for _, set := range append([]string{"listen_addresses=127.0.0.1", fmt.Sprintf("port=%d", s.Port), "unix_socket_directories=", "fsync=on",
		"max_connections=200", "shared_buffers=64MB", "log_min_messages=warning", "log_statement=none"}, settings...) {
		args = append(args, "-c", set)
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(s.Dir), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = s.Command("postgres", args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT // no server outlives its tests
	started := make(chan error, 1)
	s.done = make(chan struct{})
	go func() {
		// The signal is sent when the thread that started the server ends.
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
		}
		close(s.done)
	}()
	if err := <-started; err != nil {
		return err
	}
	return s.answers()
}

// answers waits until the server takes connections.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL(""))
		if err == nil {
			return conn.Close(ctx)
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
		case <-s.done:
			log, _ := os.ReadFile(filepath.Join(filepath.Dir(s.Dir), "log"))
			return fmt.Errorf("it ended at once: %s", log)
		case <-ctx.Done():
			return err
		}
	}
}

// Signal sends the server a signal: SIGQUIT is an immediate shutdown, like a crash;
// SIGTERM and SIGINT are orderly. Wait waits until it has ended.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Wait waits until the server has ended.
func (s *Server) Wait() { <-s.done }

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	_ = s.Signal(syscall.SIGQUIT)
	s.Wait()
	_ = os.RemoveAll(filepath.Dir(s.Dir))
}

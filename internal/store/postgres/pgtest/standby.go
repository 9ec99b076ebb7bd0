package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby starts a second server that replicates this one, synchronously: a commit is
// answered when both have it on disk.
func (s *Server) Standby() (*Server, error) {
	dir, err := os.MkdirTemp("", "callbackd-pg")
	if err != nil {
		return nil, err
	}
	b := &Server{Dir: filepath.Join(dir, "data"), bin: s.bin}
	if b.as, err = owner(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if b, err = b.begin(nil, "pg_basebackup", "-D", b.Dir, "-d", s.URL(""), "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		return nil, err
	}
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := s.exec(sql); err != nil {
			return b, err
		}
	}
	return b, s.until("SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'")
}

// Both returns the URL of a schema on whichever of two servers takes writes.
func (s *Server) Both(b *Server, schemaURL string) (string, error) {
	u, err := url.Parse(schemaURL)
	if err != nil {
		return "", err
	}
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) + "," + net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port))
	return u.String(), nil
}

// Promote turns a standby into a server that takes writes.
func (s *Server) Promote() error { return s.exec("SELECT pg_promote(true, 60)") }

func (s *Server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL(""))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// until waits until a query returns true.
func (s *Server) until(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL(""))
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	for {
		var yes bool
		if err := conn.QueryRow(ctx, sql).Scan(&yes); err != nil || yes {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not within a minute: %s", sql)
		}
	}
}

// Kill ends every process of the server at the same moment, as a loss of power does. It
// returns when they have ended.
func (s *Server) Kill() error {
	err := s.Signal(syscall.SIGSTOP) // so that it starts no process and does not react to their ends
	children, failed := childrenOf(s.cmd.Process.Pid)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
	err = s.Signal(syscall.SIGKILL)
	s.Wait()
	return err
}

func childrenOf(parent int) (out []int, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		stat, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything; state and parent follow.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if ppid, _ := strconv.Atoi(string(fields[1])); ppid == parent {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			out = append(out, pid)
		}
	}
	return out, err
}

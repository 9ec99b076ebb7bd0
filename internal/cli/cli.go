// Package cli is the command line. One struct field is one option: its flag,
// its environment twin, its default and its help.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"callbackd"
	"callbackd/internal/app"

	"github.com/alecthomas/kong"
)

// root is every command.
type root struct {
	Serve    serveCmd    `cmd:"" help:"Run the callback service."`
	Keys     keysCmd     `cmd:"" help:"Create, list, rotate and revoke API keys."`
	Replay   replayCmd   `cmd:"" help:"Send deliveries again, many at a time."`
	Console  consoleCmd  `cmd:"" help:"Print a link that signs the operator in to the console, once."`
	Nodes    nodesCmd    `cmd:"" help:"Show the nodes on a PostgreSQL database: their shards, leases and backlog."`
	Headers  headersCmd  `cmd:"" help:"Print the three authentication headers of a call, for curl -H @<(callbackd headers …)."`
	Listen   listenCmd   `cmd:"" help:"Receive callbacks and print them, to try things out."`
	Demo     demoCmd     `cmd:"" help:"Show the way of an event once: a server, a key, a receiver that fails at first, one inspection."`
	Simulate simulateCmd `cmd:"" help:"Play inspections through the API of a running server, as a load test or a demonstration."`
	Fsck     fsckCmd     `cmd:"" help:"Prove that every accepted event is in exactly one state."`
	Backup   backupCmd   `cmd:"" help:"Copy a data directory, also while a server runs on it."`
	Move     moveCmd     `cmd:"" help:"Take everything from a data directory to PostgreSQL."`
	Health   healthCmd   `cmd:"" help:"Ask the server on this machine how it is: exit code 0 if it is well."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// env is what commands run in.
type env struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	// second is closed when the person asks again to stop.
	second <-chan struct{}
}

// Exit codes. Those of sysexits.h say more than 1, and never mean what Go means
// by 2, a crash.
const (
	exitFailed  = 1  // it did not work, and may the next time
	exitSetting = 78 // EX_CONFIG: a setting cannot be, and starting again does not help
)

// lastWords bounds how long a command that ends waits for whoever reads what
// it says.
const lastWords = time.Second

// exit ends a command with a code and no further words.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// Main runs the command in args and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	code := -1
	parser, err := newParser(&root{}, stdout, stderr, func(c int) { code = c })
	if err != nil {
		fmt.Fprintln(stderr, "callbackd:", err)
		return exitSetting
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	empty := unsetEmpty(parser.Model)
	k, err := parser.Parse(args)
	if code >= 0 { // --help
		return code
	}
	if err == nil && k.Selected().Name == "serve" {
		err = checkEnvironment(parser.Model, os.Environ())
	}
	if err == nil {
		err = checkEmpty(k, empty)
	}
	if err != nil {
		fmt.Fprintf(stderr, "callbackd: %v; `callbackd --help` lists what there is\n", err)
		return exitSetting
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	second := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		<-signals
		stop()
		<-signals
		close(second)
	}()
	err = k.Run(&env{ctx, stdout, stderr, second})
	var e exit
	switch {
	case errors.As(err, &e):
		return int(e)
	case err != nil:
		said := make(chan struct{})
		go func() { fmt.Fprintln(stderr, "callbackd:", err); close(said) }()
		select {
		case <-said:
		case <-time.After(lastWords):
		}
		return exitCode(err)
	}
	return 0
}

func exitCode(err error) int {
	if callbackd.KindOf(err) == callbackd.KindSetting {
		return exitSetting
	}
	return exitFailed
}

// settingf is an error about a setting that cannot be.
func settingf(format string, args ...any) error {
	return callbackd.Errorf(callbackd.KindSetting, format, args...)
}

// newParser is the command line as kong reads it.
func newParser(r *root, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(r,
		kong.Name("callbackd"),
		kong.Description("A durable callback service: it takes events of inspection sessions and delivers each to the callbacks registered for it, in order, signed, with retries."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr), kong.Exit(exit),
		kong.DefaultEnvars("CALLBACKD"), kong.Resolvers(secretFiles{}),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)),
	)
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, "callbackd", app.Version)
	return err
}

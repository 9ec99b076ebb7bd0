// Package cli is the command line. One struct field is one option: its flag,
// its environment variable, its default and its help.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"reflect"
	"strings"
	"syscall"
	"time"

	"callbackd"
	"callbackd/internal/app"
	"callbackd/internal/safetext"
	"callbackd/internal/store"

	"github.com/alecthomas/kong"
)

// root is every command.
type root struct {
	Serve      serveCmd      `cmd:"" help:"Run the callback service."`
	Keys       keysCmd       `cmd:"" help:"Create, list, rotate and revoke API keys."`
	Keyset     keysetCmd     `cmd:"" help:"Replace the keys that seal the secrets in the store."`
	Tokens     tokensCmd     `cmd:"" help:"Create, list and revoke operator tokens, with which programs call /v1/admin."`
	Replay     replayCmd     `cmd:"" help:"Send many deliveries again."`
	Deliveries deliveriesCmd `cmd:"" help:"List, show, explain, resend and cancel deliveries."`
	Callbacks  callbacksCmd  `cmd:"" help:"List, create, show, test, pause, resume and delete callbacks of an API key."`
	Events     eventsCmd     `cmd:"" help:"List, publish and follow events of an API key."`
	Sessions   sessionsCmd   `cmd:"" help:"Find and show sessions of an API key."`
	Login      loginCmd      `cmd:"" help:"Store a server's URL and an API key in a profile, so that other commands need neither options nor variables."`
	Logout     logoutCmd     `cmd:"" help:"Remove a profile from this machine."`
	Profiles   profilesCmd   `cmd:"" help:"List the profiles, without secrets."`
	Erase      eraseCmd      `cmd:"" help:"Erase what is stored of people in sessions and their events."`
	Console    consoleCmd    `cmd:"" help:"Print a link that signs the operator in to the console once."`
	Nodes      nodesCmd      `cmd:"" help:"List the nodes on a PostgreSQL database with their shards, leases and backlog."`
	Headers    headersCmd    `cmd:"" help:"Print the three authentication headers of a call, for curl -H @<(callbackd headers …)."`
	Listen     listenCmd     `cmd:"" help:"Follow a server and send its events to a program on this machine as callbackd would, or receive callbacks on a port, for development."`
	Exam       examCmd       `cmd:"" help:"Examine a receiver: send it what it must cope with, such as duplicates, wrong signatures and large bodies, and say what to mend. Exit code 0 when it passes, 1 when it does not."`
	Zoo        zooCmd        `cmd:"" help:"Serve hostile receivers on this machine, to find out what a sender of webhooks makes of them."`
	Demo       demoCmd       `cmd:"" help:"Show one inspection from start to end: a server, an API key, a receiver that fails at first, and every event delivered."`
	Trigger    triggerCmd    `cmd:"" help:"Publish a whole, realistic event as a marked test, or all events of an inspection. It goes where a real event goes."`
	Simulate   simulateCmd   `cmd:"" help:"Play inspections through the API of a running server, for a load test or a demonstration."`
	Audit      auditCmd      `cmd:"" help:"List who changed what, and verify that nobody has changed the audit log."`
	Export     exportCmd     `cmd:"" help:"Write what is stored to a file: events, or settings."`
	Apply      applyCmd      `cmd:"" help:"Make API keys and their callbacks like a file, in one transaction, or print what would change."`
	Archive    archiveCmd    `cmd:"" help:"Verify and print the events that a server with --archive has written to files before it removed them."`
	Fsck       fsckCmd       `cmd:"" help:"Check that every delivery of every accepted event is in exactly one state, and that the audit log is complete."`
	Backup     backupCmd     `cmd:"" help:"Copy a data directory, also while a server runs on it."`
	Move       moveCmd       `cmd:"" help:"Move everything from a data directory to PostgreSQL."`
	Health     healthCmd     `cmd:"" help:"Check the server on this machine: exit code 0 when it is healthy, 1 when it is not."`
	Status     statusCmd     `cmd:"" help:"Say how a running server is: version, readiness, pending deliveries, nodes, and the last faults that it logged. Exit code 0 when it is ready, 1 when it is not."`
	Doctor     doctorCmd     `cmd:"" help:"Find out what keeps a server from running well here: settings, disk, permissions, store, clock, network, certificates, limits. Takes the options of serve, changes nothing, and says what to do. Exit code 0 when there is no problem, 1 when there is one."`
	LogLevel   logLevelCmd   `cmd:"" help:"Change what a running server logs, until its next start."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands and options in bash, zsh or fish."`
	Complete   completeCmd   `cmd:"" name:"__complete" hidden:"" help:"Answer the scripts of the command completion."`
	Man        manCmd        `cmd:"" help:"Print the manual page of all commands, for man -l."`
	Version    versionCmd    `cmd:"" help:"Print the version, with the commit that the binary was built from and its date."`

	PrintVersion kong.VersionFlag `name:"version" env:"-" help:"Print the same as the command version."`
}

// env holds what commands run with.
type env struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	// second is closed by the second signal to stop.
	second <-chan struct{}
	// settings are the options of the command as they were given.
	settings []callbackd.ServerOption
}

// Exit codes. 78 is from sysexits.h; 2 is not used, because Go exits with it
// after a crash.
const (
	exitFailed  = 1  // the command failed; it may work the next time
	exitSetting = 78 // EX_CONFIG: a setting is invalid; a restart does not help
)

// exitWait bounds how long a command that ends waits until its last lines are
// read.
const exitWait = time.Second

// exit is an error that ends a command with an exit code and no message.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// withHelp returns the text of an error in the arguments, and names the help of the command as
// far as it was understood. Options that are missing are named with their variables.
func withHelp(err error) string {
	command := "callbackd"
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		for _, p := range wrong.Context.Path {
			if p.Command != nil {
				command += " " + p.Command.Name
			}
		}
	}
	text, see := err.Error(), "; see"
	if wrong != nil && wrong.Context != nil && strings.HasPrefix(text, "missing flags") {
		var variables []string
		for _, f := range wrong.Context.Flags() {
			if f.Required && !f.Set && len(f.Envs) > 0 {
				variables = append(variables, f.Envs[0])
			}
		}
		if len(variables) > 0 {
			text += "; or set " + strings.Join(variables, ", ")
		}
	}
	if strings.HasSuffix(text, "?") { // did you mean …?
		see = " See"
	}
	return fmt.Sprintf("%s%s `%s --help`", text, see, command)
}

// printError prints why a command failed. The text may have what a server answered and names
// of files, which must not control the terminal.
func printError(stderr io.Writer, text string) {
	fmt.Fprintln(stderr, "callbackd:", safetext.Replace(text))
}

// Main runs the command in args and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	code := -1
	parser, err := newParser(&root{}, stdout, stderr, func(c int) { code = c })
	if err != nil {
		printError(stderr, err.Error())
		return exitSetting
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if err := adoptOldNames(); err != nil {
		printError(stderr, err.Error())
		return exitSetting
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
		printError(stderr, withHelp(err))
		return exitSetting
	}
	fromProfile, err := useProfile(k)
	if err != nil {
		printError(stderr, err.Error())
		return exitCode(err)
	}
	settings := settingsOf(k, fromProfile)
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
	err = k.Run(&env{store.WithActor(ctx, whoRuns()), stdout, stderr, second, settings})
	err = withOrigin(err, settings)
	var e exit
	switch {
	case errors.As(err, &e):
		return int(e)
	case err != nil:
		printed := make(chan struct{})
		go func() { printError(stderr, err.Error()); close(printed) }()
		select {
		case <-printed:
		case <-time.After(exitWait):
		}
		return exitCode(err)
	}
	return 0
}

// whoRuns returns who runs the command, as the audit log names them.
func whoRuns() callbackd.Actor {
	a := callbackd.Actor{Kind: callbackd.ActorCommand}
	if u, err := user.Current(); err == nil {
		a.Name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		a.Address = host
	}
	return a
}

func exitCode(err error) int {
	if callbackd.KindOf(err) == callbackd.KindSetting {
		return exitSetting
	}
	return exitFailed
}

// settingf returns an error about an invalid setting.
func settingf(format string, args ...any) error {
	return callbackd.Errorf(callbackd.KindSetting, format, args...)
}

// newParser returns the command line as kong reads it.
func newParser(r *root, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(r,
		kong.Name("callbackd"),
		kong.Description("A durable callback service. It accepts events of inspection sessions and delivers each event to the callbacks that are registered for it: in order, signed, with retries."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr), kong.Exit(exit),
		kong.DefaultEnvars("CALLBACKD"), kong.Vars{"version": "callbackd " + app.Build()}, kong.Resolvers(secretFiles{}),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)),
	)
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, "callbackd", app.Build())
	return err
}

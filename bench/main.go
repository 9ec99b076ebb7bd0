// Command bench measures callbackd and, in the same run, the least that the same work
// could cost on the same machine. It prints their ratios in Markdown.
//
// Without arguments it lists its commands and prints a short table. `bench COMMAND -h`
// describes a command.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// command is one thing that bench does. setup defines its flags and returns what runs
// after they were read.
type command struct {
	name, summary, help string
	limit               time.Duration // after which it gives up
	setup               func(*flag.FlagSet) func() error
}

var commands = []command{
	{"table", "callbackd and a bare relay: rate, CPU, latency and memory", tableHelp, 20 * time.Minute, tableCommand},
	{"compare", "the CPU of an event in two builds, to within 2 %", compareHelp, 20 * time.Minute, compareCommand},
	{"postgres", "the same load on SQLite and on PostgreSQL, with one node and with three", postgresHelp, 20 * time.Minute, postgresCommand},
	{"extremes", "hanging receivers, a large backlog, many callbacks, a long history", extremesHelp, time.Hour, extremesCommand},
	{"lists", "how soon list pages come with a long history", listsHelp, 2 * time.Hour, listsCommand},
	{"sessions", "a change of a session, compared with publishing the same event", "", 10 * time.Minute, sessionsCommand},
	{"visitors", "the calls of one key while one visitor takes as much as it can", "", 20 * time.Minute, visitorsCommand},
	{"overload", "ten times the events that the server can take", overloadHelp, 20 * time.Minute, overloadCommand},
	{"sim", "a simulation of up to 1,000 nodes on one database, in virtual time", "", time.Hour, simCommand},
	{"profile", "a CPU profile of the server under load", "", 10 * time.Minute, profileCommand},
	{"load", "publish events to a running server, and wait for their arrival", "", 10 * time.Minute, loadCommand},
	{"sink", "run a receiver that answers 200", "", 2 * time.Hour, sinkCommand},
	{"relay", "run a server that forwards each POST and stores nothing", "", 2 * time.Hour, relayCommand},
}

// short are the arguments of the run without any.
var short = []string{"table", "-rounds", "3", "-events", "10000", "-steady", "2s"}

func main() {
	code := run(os.Args[1:])
	cleanUp()
	os.Exit(code)
}

func run(args []string) int {
	if len(args) == 0 {
		usage()
		fmt.Fprintf(os.Stderr, "\nNow the short table, in about a minute: bench")
		for _, a := range short {
			fmt.Fprint(os.Stderr, " ", a)
		}
		fmt.Fprint(os.Stderr, "\n\n")
		args = short
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(args[1:])
		}
	}
	usage()
	switch args[0] {
	case "-h", "-help", "--help", "help":
		return 0
	}
	fmt.Fprintf(os.Stderr, "\nbench: there is no command %q\n", args[0])
	return 2
}

func usage() {
	fmt.Fprint(os.Stderr, "usage: bench [COMMAND [flags]]\n\n")
	for _, c := range commands {
		fmt.Fprintf(os.Stderr, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(os.Stderr, "\nThe result goes to standard output, in Markdown; progress goes to standard error.\n`bench COMMAND -h` describes a command and its flags.\n")
}

// positive are the flags that no measurement can be made with when they are 0.
var positive = []string{"c", "calls", "connections", "cores", "events", "keys", "nodes", "rounds", "sessions"}

func isPositive(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n > 0
}

// run runs the command until it ends, its limit is over, or a signal comes.
func (c *command) run(args []string) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: bench %s [flags]: %s\n%s\n", c.name, c.summary, c.help)
		fs.PrintDefaults()
	}
	limit := fs.Duration("limit", c.limit, "give up after this time")
	f := c.setup(fs)
	switch err := fs.Parse(args); {
	case err == flag.ErrHelp:
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		fmt.Fprintf(os.Stderr, "bench: %s takes flags only, and not %q\n", c.name, fs.Args())
		return 2
	}
	for _, name := range positive {
		if given := fs.Lookup(name); given != nil && !isPositive(given.Value.String()) {
			fmt.Fprintf(os.Stderr, "bench: -%s must be 1 or more, not %s\n", name, given.Value)
			return 2
		}
	}
	ended := make(chan error, 1)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		printSentAgain()
		return 0
	case <-time.After(*limit):
		fmt.Fprintf(os.Stderr, "bench: %s has not ended within %v; measure less, or give a larger -limit\n", c.name, *limit)
		return 1
	case <-signals:
		return 130
	}
}

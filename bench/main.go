// Command bench measures callbackd, and beside it the least that the same work could
// cost on the same machine in the same run, and prints their ratios.
//
//	go run ./bench table    all measurements; the rounds alternate (a few minutes)
//	go run ./bench sink     a receiver that answers 200
//	go run ./bench relay    a server that forwards each POST and keeps nothing
//	go run ./bench sessions a change of a session, compared with publishing the same event
//	go run ./bench postgres the same load on SQLite and on PostgreSQL, with one node and with three
//	go run ./bench sim      a simulation of up to 1,000 nodes on one database, in virtual time
//	go run ./bench extremes a large backlog, a long history, and receivers that hang
//	go run ./bench lists    how soon list pages come with a long history; -postgres on PostgreSQL
//	go run ./bench visitors the calls of one key while one visitor takes all it can
//	go run ./bench profile  a CPU profile of the server under load
//	go run ./bench load     publishes events and waits for their arrival
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bench table|sessions|postgres|sim|extremes|lists|visitors|profile|sink|relay|load [flags]; each has -h")
		os.Exit(2)
	}
	fs := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var run func() error
	switch os.Args[1] {
	case "sink":
		run = sinkCommand(fs)
	case "relay":
		run = relayCommand(fs)
	case "load":
		run = loadCommand(fs)
	case "sessions":
		run = sessionsCommand(fs)
	case "postgres":
		run = postgresCommand(fs)
	case "sim":
		run = simCommand(fs)
	case "extremes":
		run = extremesCommand(fs)
	case "lists":
		run = listsCommand(fs)
	case "visitors":
		run = visitorsCommand(fs)
	case "profile":
		run = profileCommand(fs)
	case "table":
		run = tableCommand(fs)
	default:
		fmt.Fprintf(os.Stderr, "bench: there is no %q; use table, sessions, postgres, sim, extremes, lists, visitors, profile, sink, relay or load\n", os.Args[1])
		os.Exit(2)
	}
	fs.Parse(os.Args[2:])
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

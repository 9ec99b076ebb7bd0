package cli

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	"callbackd/internal/app"
	"callbackd/internal/console"
)

// madeByGoRun matches where `go run` puts a program: in a work directory, and
// from the second time on in the build cache.
var madeByGoRun = regexp.MustCompile(`/go-build[0-9]+/b[0-9]+/exe/[^/]+$|/[0-9a-f]{64}-d/[^/]+$`)

// self returns how this program was called, so that a printed command can be
// copied and run from the same folder.
func self() string {
	path, err := os.Executable()
	if err != nil {
		path = ""
	}
	return calledAs(os.Args[0], path, os.Getenv("CGO_ENABLED"))
}

func calledAs(arg0, executable, cgo string) string {
	switch {
	case madeByGoRun.MatchString(executable) && cgo == "0": // otherwise much would be compiled again
		return "CGO_ENABLED=0 go run ./cmd/callbackd"
	case madeByGoRun.MatchString(executable):
		return "go run ./cmd/callbackd"
	case strings.Contains(arg0, "/"):
		return shellQuote(arg0)
	}
	return "callbackd" // found by PATH
}

// whatNext prints the next steps, as commands that can be copied.
func (c *serveCmd) whatNext(e *env, a *app.App) {
	store := "--data " + shellQuote(c.Data)
	if c.DatabaseURL != "" {
		store = "--database-url … --secret-keys " + shellQuote(c.SecretKeys) // the URL may hold a password
	}
	at := c.reachedAt(a.URL())
	if at != defaultURL {
		store += " --server " + shellQuote(at)
	}
	fmt.Fprintf(e.stdout, "The console is at %s%s/\nTo sign in there as the operator, print a link that works once:\n  %s console %s\n", at, console.Root, self(), store)
	if has, err := a.HasKeys(e.ctx); err == nil && !has {
		fmt.Fprintf(e.stdout, "There is no API key yet. Create the first:\n  %s keys create --account acme %s\n", self(), store)
	}
}

// reachedAt returns the URL of the server for a browser on this machine. bound is
// its URL with the address and port that it listens on.
func (c *serveCmd) reachedAt(bound string) string {
	if c.PublicURL != "" {
		return strings.TrimSuffix(c.PublicURL, "/")
	}
	at, err := here(c.Listen)
	u, err2 := url.Parse(bound)
	if err != nil || err2 != nil {
		return bound
	}
	host, _, _ := net.SplitHostPort(at)
	return "http://" + net.JoinHostPort(host, u.Port())
}

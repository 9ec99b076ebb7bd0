package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"callbackd"
	"callbackd/internal/profile"
	"callbackd/internal/safetext"

	"golang.org/x/term"
)

// chosenProfile is the option of commands that write or remove a profile.
type chosenProfile struct {
	Profile string `env:"CALLBACKD_PROFILE" placeholder:"NAME" help:"Name of the profile. Default: default, which commands use when none is named."`
}

// name returns the name of the profile.
func (c *chosenProfile) name() string { return cmp.Or(c.Profile, profile.Default) }

type loginCmd struct {
	chosenProfile
	Server  string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" help:"URL of the server."`
	Account string `env:"CALLBACKD_ACCOUNT" help:"Account name of the API key."`
	Key     string `env:"CALLBACKD_KEY" help:"API key."`
	Secret  string `env:"CALLBACKD_SECRET" secret:"" help:"API secret. Also from a file: CALLBACKD_SECRET_FILE."`
}

// Help is shown below the options.
func (*loginCmd) Help() string {
	return "On a terminal, the command asks for what is missing. Elsewhere it reads what is missing from standard input, one line each: account, API key, API secret; give the server's URL with --server. The server is asked whether it knows the key before the profile is written. The file is in the folder for configuration of the user (~/.config/callbackd/profiles on Linux), and only the user can read it. Commands with --profile then need no other option: an option on the command line wins, then a variable, then the profile. When --profile is on the command line itself, it wins over variables."
}

// Run verifies the API key and writes the profile.
func (c *loginCmd) Run(e *env) error {
	if err := profile.CheckName(c.name()); err != nil {
		return err
	}
	folder, err := profile.UserFolder()
	if err != nil {
		return err
	}
	if err := c.complete(e); err != nil {
		return err
	}
	account := accountFlags{Server: c.Server, keyFlags: keyFlags{Account: c.Account, Key: c.Key, Secret: c.Secret}}
	api, err := account.client()
	if err != nil {
		return err
	}
	limits, err := api.Limits(e.ctx)
	if err == nil && limits.APIKey != c.Key {
		err = errors.New("the answer is not that of callbackd")
	}
	if err != nil {
		return fmt.Errorf("no profile was written, because %s does not confirm the API key: %v", redacted(api.Base), err)
	}
	if err := folder.Write(c.name(), profile.Profile{Server: api.Base, Account: c.Account, APIKey: c.Key, APISecret: c.Secret}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s knows the API key %s of the account %s.\nThe profile %s is written: %s\n",
		redacted(api.Base), masked(c.Key), safetext.Escape(c.Account), c.name(), folder.Path(c.name()))
	return err
}

// complete asks for what is missing, or reads it from standard input.
func (c *loginCmd) complete(e *env) error {
	in := &prompt{ctx: e.ctx, out: io.Discard, in: bufio.NewReader(os.Stdin), terminal: int(os.Stdin.Fd())}
	if isTerminal(os.Stdin) {
		in.out, in.hides = e.stderr, true
		unset := slices.ContainsFunc(e.settings, func(s callbackd.ServerOption) bool { return s.Name == "server" && s.Source == fromDefault })
		if unset {
			text, err := in.ask("Server ["+c.Server+"]: ", false)
			if err != nil {
				return err
			}
			c.Server = cmp.Or(text, c.Server)
		}
	}
	if err := checkServer(c.Server); err != nil { // before more is asked
		return err
	}
	for _, q := range []struct {
		value  *string
		text   string
		secret bool
	}{{&c.Account, "Account: ", false}, {&c.Key, "API key: ", false}, {&c.Secret, "API secret (not shown): ", true}} {
		if *q.value != "" {
			continue
		}
		text, err := in.ask(q.text, q.secret)
		if err != nil {
			return err
		}
		*q.value = text
	}
	return nil
}

// prompt asks questions on a terminal, or reads the answers from another standard input.
type prompt struct {
	ctx      context.Context
	out      io.Writer // questions
	in       *bufio.Reader
	hides    bool // standard input is a terminal, which can hide a secret
	terminal int
}

// ask returns one answer; empty at the end of the input. The command may be stopped while it
// waits.
func (p *prompt) ask(question string, secret bool) (string, error) {
	fmt.Fprint(p.out, question)
	restore := func() {}
	if secret && p.hides {
		before, err := term.GetState(p.terminal)
		if err != nil {
			return "", err
		}
		restore = func() { _ = term.Restore(p.terminal, before) } // the answer counts
	}
	type result struct {
		text string
		err  error
	}
	answer := make(chan result, 1)
	go func() {
		var r result
		if secret && p.hides {
			var raw []byte
			raw, r.err = term.ReadPassword(p.terminal)
			r.text = string(raw)
			fmt.Fprintln(p.out)
		} else {
			r.text, r.err = p.in.ReadString('\n')
		}
		answer <- r
	}()
	select {
	case <-p.ctx.Done():
		restore()
		fmt.Fprintln(p.out)
		return "", exit(exitFailed)
	case r := <-answer:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return "", r.err
		}
		return strings.TrimSpace(r.text), nil
	}
}

type logoutCmd struct{ chosenProfile }

// Run removes the profile.
func (c *logoutCmd) Run(e *env) error {
	folder, err := profile.UserFolder()
	if err == nil {
		err = folder.Remove(c.name())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return settingf("there is no profile %s; `callbackd profiles` lists them", c.name())
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "The profile %s is removed. Its API key is still valid; `callbackd keys revoke` ends one.\n", c.name())
	return err
}

type profilesCmd struct {
	Profile string `env:"CALLBACKD_PROFILE" placeholder:"NAME" help:"Mark this profile as the one in use. Default: default."`
	JSON    bool   `help:"Print JSON instead of text, one profile a line."`
}

// listedProfile is a line of profiles --json.
type listedProfile struct {
	Name    string `json:"name"`
	InUse   bool   `json:"in_use"`
	Server  string `json:"server,omitempty"`
	Account string `json:"account,omitempty"`
	APIKey  string `json:"api_key,omitempty"`
	Error   string `json:"error,omitempty"` // why it cannot be used
}

// Run lists the profiles without secrets.
func (c *profilesCmd) Run(e *env) error {
	folder, err := profile.UserFolder()
	if err != nil {
		return err
	}
	names, err := folder.Names()
	if err != nil {
		return err
	}
	if len(names) == 0 && !c.JSON {
		_, err := fmt.Fprintln(e.stdout, "There is no profile; `callbackd login` writes one.")
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "NAME\tIN USE\tSERVER\tACCOUNT\tAPI KEY")
	}
	for _, name := range names {
		line := listedProfile{Name: name, InUse: name == cmp.Or(c.Profile, profile.Default)}
		if p, err := folder.Read(name); err != nil {
			line.Error = err.Error()
		} else {
			line.Server, line.Account, line.APIKey = redacted(p.Server), p.Account, masked(p.APIKey)
		}
		if c.JSON {
			if err := json.NewEncoder(e.stdout).Encode(line); err != nil {
				return err
			}
			continue
		}
		used := "-"
		if line.InUse {
			used = "yes"
		}
		if line.Error != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\n", name, used, safetext.Escape(line.Error))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, used, safetext.Escape(line.Server), safetext.Escape(line.Account), line.APIKey)
	}
	return w.Flush()
}

// masked returns an API key with its first characters only.
func masked(key string) string {
	const shown = 8
	r := []rune(key)
	if len(r) <= shown {
		return "…"
	}
	return safetext.Escape(string(r[:shown])) + "…"
}

// redacted returns a URL without a password in it.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the server"
	}
	return safetext.Escape(u.Redacted())
}

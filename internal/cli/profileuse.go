package cli

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/profile"

	"github.com/alecthomas/kong"
)

// profileTag marks options whose value a profile may give, and names the member of the
// profile: server, account, key or secret.
const profileTag = "profile"

// Sources of an option's value.
const (
	fromDefault     = "default"
	fromCommandLine = "command line"
	fromProfile     = "profile " // before its name
)

// source returns where an option has its value from. written are the options on the command
// line.
func source(f *kong.Flag, written map[string]bool) string {
	if written[f.Name] {
		return fromCommandLine
	}
	for _, name := range f.Envs {
		if os.Getenv(name) != "" {
			return "environment " + name
		}
		if f.Tag.Has(secretTag) && os.Getenv(name+fileSuffix) != "" {
			return "file of " + name + fileSuffix
		}
	}
	return fromDefault
}

// writtenOptions returns the options that are on the command line.
func writtenOptions(k *kong.Context) map[string]bool {
	written := map[string]bool{}
	for _, p := range k.Path {
		if p.Flag != nil && !p.Resolved {
			written[p.Flag.Name] = true
		}
	}
	return written
}

// profiled are the options of a command that a profile may give.
type profiled struct {
	name     string // of the profile; empty when none is named
	onLine   bool   // it is named on the command line
	members  map[string]*kong.Flag
	variable map[string]bool // members whose options have their value from a variable
	written  map[string]bool // members whose options are on the command line
}

// profiledOf returns the options of the chosen command that a profile may give.
func profiledOf(k *kong.Context) profiled {
	out := profiled{members: map[string]*kong.Flag{}, variable: map[string]bool{}, written: map[string]bool{}}
	written := writtenOptions(k)
	for _, f := range slices.Concat(k.Selected().AllFlags(false)...) {
		from := source(f, written)
		if f.Name == "profile" {
			out.name, out.onLine = f.Target.String(), from == fromCommandLine
		}
		if member := f.Tag.Get(profileTag); member != "" {
			out.members[member] = f
			out.written[member] = from == fromCommandLine
			out.variable[member] = from != fromCommandLine && from != fromDefault
		}
	}
	return out
}

// wanted returns the members that the profile gives. An option on the command line wins over a
// profile, and so does a variable, unless the profile is named on the command line. The members
// of the API key belong together: the profile gives all three or none.
func (p *profiled) wanted() (out []string) {
	given := func(member string) bool { return p.written[member] || p.variable[member] && !p.onLine }
	if p.members["server"] != nil && !given("server") {
		out = append(out, "server")
	}
	key := []string{"account", "key", "secret"}
	if p.members["secret"] != nil && !slices.ContainsFunc(key, given) {
		out = append(out, key...)
	}
	return out
}

// useProfile gives the chosen command the options that a profile has for it. Commands with an
// API key use the profile default when none is named. It returns the names of the options that
// it has set, with their source.
func useProfile(k *kong.Context) (map[string]string, error) {
	p := profiledOf(k)
	wanted, name := p.wanted(), p.name
	if name == "" && p.members["secret"] != nil {
		name = profile.Default
	}
	if len(wanted) == 0 || name == "" {
		return nil, nil
	}
	folder, err := profile.UserFolder()
	if err != nil && p.name == "" {
		return nil, nil // a service without a home has no profiles
	}
	var found profile.Profile
	if err == nil {
		found, err = folder.Read(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if p.name == "" {
			return nil, nil
		}
		return nil, settingf("there is no profile %s; `callbackd profiles` lists them, and `callbackd login --profile %s` writes it", name, name)
	}
	if err != nil {
		return nil, err
	}
	values := map[string]string{"server": found.Server, "account": found.Account, "key": found.APIKey, "secret": found.APISecret}
	set := map[string]string{}
	for _, member := range wanted {
		f := p.members[member]
		f.Target.SetString(values[member])
		set[f.Name] = fromProfile + name
	}
	return set, nil
}

// withOrigin adds to the error of a call where the server's URL, or the API key that the
// server refuses, has come from, and how to give another one.
func withOrigin(err error, settings []callbackd.ServerOption) error {
	from := map[string]string{}
	for _, s := range settings {
		from[s.Name] = s.Source
	}
	var answer *client.Error
	var call *url.Error
	hint := ""
	switch {
	case errors.Is(err, context.Canceled):
	case errors.As(err, &answer) && answer.Status == http.StatusUnauthorized:
		if from["secret"] != "" && from["secret"] != fromDefault && from["secret"] != fromCommandLine {
			hint = "The API secret is from the " + from["secret"]
		}
	case errors.As(err, &call):
		switch from["server"] {
		case "", fromCommandLine:
		case fromDefault:
			hint = "The URL is the default one: set CALLBACKD_URL or --server, or name a profile with --profile (`callbackd login` writes one)"
		default:
			hint = "The URL is from the " + from["server"]
		}
	}
	if hint == "" {
		return err
	}
	text := err.Error()
	if !strings.HasSuffix(text, "?") {
		text = strings.TrimRight(text, ".") + "."
	}
	return originError{err, text + " " + hint}
}

// originError is an error with another message.
type originError struct {
	error
	message string
}

// Error returns the message.
func (e originError) Error() string { return e.message }

// Unwrap returns the error itself.
func (e originError) Unwrap() error { return e.error }

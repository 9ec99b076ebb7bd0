package cli

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"callbackd"

	"github.com/alecthomas/kong"
)

// fileSuffix ends the name of a variable that names the file of a secret.
const fileSuffix = "_FILE"

// secretTag marks options whose value may be a secret.
const secretTag = "secret"

// flags calls f for every flag of the command and of those under it.
func flags(n *kong.Node, f func(*kong.Flag)) {
	for _, flag := range n.Flags {
		f(flag)
	}
	for _, child := range n.Children {
		flags(child, f)
	}
}

// environment returns the names of all variables that are settings.
func environment(app *kong.Application) map[string]bool {
	known := map[string]bool{}
	flags(app.Node, func(f *kong.Flag) {
		for _, name := range f.Envs {
			known[name] = true
			if f.Tag.Has(secretTag) {
				known[name+fileSuffix] = true
			}
		}
	})
	for old := range oldNames {
		known[old] = true
	}
	return known
}

// oldNames are variables that were renamed, with their present names. They still
// work, as the old flags do, which are hidden aliases of the new ones.
var oldNames = map[string]string{
	"CALLBACKD_KEEP":        "CALLBACKD_RETENTION",
	"CALLBACKD_ROTATE_KEEP": "CALLBACKD_ROTATE_OVERLAP",
	"CALLBACKD_EXPIRES":     "CALLBACKD_SESSIONS_EXPIRE_AFTER",
	"CALLBACKD_EXPIRE":      "CALLBACKD_ABANDON",
	"CALLBACKD_SERVER":      "CALLBACKD_URL",
}

// adoptOldNames gives renamed variables their present names.
func adoptOldNames() error {
	for _, old := range slices.Sorted(maps.Keys(oldNames)) {
		value, name := os.Getenv(old), oldNames[old]
		if value == "" {
			continue
		}
		if now := os.Getenv(name); now != "" && now != value {
			return settingf("%s and %s are both set, and %s is the old name of the same setting; unset %s", old, name, old, old)
		}
		os.Setenv(name, value)
	}
	return nil
}

// orchestrators matches variables that Kubernetes and Docker set for a service
// named callbackd.
var orchestrators = regexp.MustCompile(`^CALLBACKD_(SERVICE_(HOST|PORT)(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP).*)?)$`)

// checkEnvironment refuses variables that look like a setting but are none.
// Otherwise a misspelled setting would have its default value, silently.
func checkEnvironment(app *kong.Application, environ []string) error {
	known := environment(app)
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "CALLBACKD_") || known[name] || orchestrators.MatchString(name) {
			continue
		}
		return fmt.Errorf("%s is set in the environment but is not a setting; did you mean %s? Rename it or unset it", name, nearest(name, known))
	}
	return nil
}

// noEmpty holds the variables that must not be empty. For every other variable
// empty means unset. These choose the store, and a secret that failed to arrive
// must not choose another store.
var noEmpty = map[string]bool{"CALLBACKD_DATABASE_URL": true, "CALLBACKD_DATABASE_URL" + fileSuffix: true}

// unsetEmpty removes settings without a value from the environment: compose
// files, systemd units and Helm charts pass NAME= for a value that nobody set. It
// returns the names of those that must not be empty.
func unsetEmpty(app *kong.Application) []string {
	var refused []string
	for _, name := range slices.Sorted(maps.Keys(environment(app))) {
		if v, set := os.LookupEnv(name); !set || v != "" {
			continue
		}
		os.Unsetenv(name)
		if noEmpty[name] {
			refused = append(refused, name)
		}
	}
	return refused
}

// checkEmpty refuses options of the chosen command that have no value: all that
// are written on the command line, and those variables that must not be empty.
func checkEmpty(k *kong.Context, empty []string) error {
	for _, p := range k.Path {
		if f := p.Flag; f != nil && !p.Resolved && f.Target.Kind() == reflect.String && f.Target.String() == "" && !f.Tag.Optional {
			return fmt.Errorf("--%s has an empty value; give it a value, or leave the option out", f.Name)
		}
	}
	for _, f := range k.Selected().AllFlags(false) {
		for _, flag := range f {
			for _, name := range empty {
				if slices.Contains(flag.Envs, strings.TrimSuffix(name, fileSuffix)) && flag.Target.String() == "" {
					return fmt.Errorf("%s is set but empty, and ignoring it would choose another store; unset it, or set it to the URL of the database", name)
				}
			}
		}
	}
	return nil
}

// duration reads a duration, which may have days.
func duration(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("duration")
	if err != nil {
		return err
	}
	d, err := callbackd.ParseDuration(t.String())
	if err != nil {
		return err
	}
	target.SetInt(int64(d))
	return nil
}

// checkDuration refuses the value of an option that is outside its limits.
func checkDuration(option string, d, least, most time.Duration) error {
	if d >= least && d <= most {
		return nil
	}
	return settingf("%s %s is invalid; give a duration from %s to %s", option,
		callbackd.FormatDuration(d), callbackd.FormatDuration(least), callbackd.FormatDuration(most))
}

// nearest returns the known name that differs by the fewest edits.
func nearest(name string, known map[string]bool) string {
	best, least := "", len(name)+100
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := edits(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// edits returns the Levenshtein distance of two short texts.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// secretFiles reads secrets from the file that CALLBACKD_…_FILE names.
type secretFiles struct{}

// Validate is part of kong.Resolver.
func (secretFiles) Validate(*kong.Application) error { return nil }

// Resolve is part of kong.Resolver. kong calls it for options that are not on
// the command line.
func (secretFiles) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if !f.Tag.Has(secretTag) {
		return nil, nil
	}
	for _, name := range f.Envs {
		file := os.Getenv(name + fileSuffix)
		if file == "" {
			continue
		}
		if os.Getenv(name) != "" {
			return nil, fmt.Errorf("%s and %s%s are both set; unset one of them", name, name, fileSuffix)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w", name, fileSuffix, err)
		}
		secret := strings.TrimSpace(string(raw))
		if secret == "" {
			return nil, fmt.Errorf("%s%s names the file %s, which is empty; write the secret into it", name, fileSuffix, file)
		}
		return secret, nil
	}
	return nil, nil
}

// settingsOf returns the options of the chosen command with their values and where each
// comes from. fromProfile are those that a profile gave.
func settingsOf(k *kong.Context, fromProfile map[string]string) (out []callbackd.ServerOption) {
	written := writtenOptions(k)
	for _, group := range k.Selected().AllFlags(true) {
		for _, f := range group {
			if f.Name == "help" || f.Name == "version" {
				continue
			}
			s := callbackd.ServerOption{
				Name: f.Name, Value: callbackd.Secret(settingText(f.Target)),
				Source: cmp.Or(fromProfile[f.Name], source(f, written)), Secret: f.Tag.Has(secretTag),
			}
			out = append(out, s)
		}
	}
	return out
}

// settingText returns the value of an option as a person would write it.
func settingText(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return callbackd.FormatDuration(value)
	case []string:
		return strings.Join(value, ",")
	}
	return fmt.Sprint(v.Interface())
}

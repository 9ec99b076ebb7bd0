package cli

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"callbackd"

	"github.com/alecthomas/kong"
)

// fileSuffix makes the environment twin of a secret that is read from a file.
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

// environment is the name of every setting that the environment may hold.
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
	return known
}

// orchestrators set variables like these for a service named callbackd.
var orchestrators = regexp.MustCompile(`^CALLBACKD_(SERVICE_(HOST|PORT)(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP).*)?)$`)

// checkEnvironment refuses variables that look like settings and are none:
// a setting with a typing error would silently be the default.
func checkEnvironment(app *kong.Application, environ []string) error {
	known := environment(app)
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "CALLBACKD_") || known[name] || orchestrators.MatchString(name) {
			continue
		}
		return fmt.Errorf("the environment has %s, which is no setting; did you mean %s? Rename it or unset it", name, nearest(name, known))
	}
	return nil
}

// noEmpty are the settings whose empty value is refused. Empty means unset for
// every other one; these choose the store, and a secret that is missing must not
// choose another.
var noEmpty = map[string]bool{"CALLBACKD_DATABASE_URL": true, "CALLBACKD_DATABASE_URL" + fileSuffix: true}

// unsetEmpty takes settings without a value out of the environment: compose
// files, units and charts pass NAME= for what nobody set. It returns those that
// must not be empty.
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

// checkEmpty refuses settings of the chosen command that are given without a
// value and must not be: those of the environment, and every one that is written
// out on the command line.
func checkEmpty(k *kong.Context, empty []string) error {
	for _, p := range k.Path {
		if f := p.Flag; f != nil && !p.Resolved && f.Target.Kind() == reflect.String && f.Target.String() == "" && !f.Tag.Optional {
			return fmt.Errorf("--%s has an empty value: give it one, or leave the option out", f.Name)
		}
	}
	for _, f := range k.Selected().AllFlags(false) {
		for _, flag := range f {
			for _, name := range empty {
				if slices.Contains(flag.Envs, strings.TrimSuffix(name, fileSuffix)) && flag.Target.String() == "" {
					return fmt.Errorf("%s is empty, and an empty one is not taken for none: it would choose another store. Unset it, or give it the database's URL", name)
				}
			}
		}
	}
	return nil
}

// duration reads a duration, with days.
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

// nearest is the known name with the fewest edits.
func nearest(name string, known map[string]bool) string {
	best, least := "", len(name)+100
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := edits(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two short texts.
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

// Resolve is part of kong.Resolver. It is asked for options that are not on
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
			return nil, fmt.Errorf("%s and %s%s are both set: unset one", name, name, fileSuffix)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w", name, fileSuffix, err)
		}
		secret := strings.TrimSpace(string(raw))
		if secret == "" {
			return nil, fmt.Errorf("%s%s names %s, which is empty", name, fileSuffix, file)
		}
		return secret, nil
	}
	return nil, nil
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/safetext"
	"callbackd/internal/settings"
	"callbackd/wire"
)

// settingsFlags are the options of commands that read or change settings: through a running
// server, or in the store itself when no server runs.
type settingsFlags struct {
	dataFlag
	profileFlag
	Server string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" profile:"server" help:"URL of the server, with --token."`
	Token  string `env:"CALLBACKD_ADMIN_TOKEN" secret:"" placeholder:"TOKEN" help:"Operator token, with which the server at --server is asked. Without it, the store is opened. Also from a file: CALLBACKD_ADMIN_TOKEN_FILE."`
}

// admin returns a client of the server; nil without a token.
func (f *settingsFlags) admin() (*client.Admin, error) {
	if f.Token == "" {
		return nil, nil
	}
	return operatorClient(f.Server, f.Token)
}

// operatorClient returns a client of the management API.
func operatorClient(server, token string) (*client.Admin, error) {
	if u, err := url.Parse(server); err != nil || u.Host == "" {
		return nil, settingf("--server %q is not the URL of a server; write for example %s", server, defaultURL)
	}
	return &client.Admin{Base: strings.TrimSuffix(server, "/"), Token: token}, nil
}

type exportSettingsCmd struct {
	settingsFlags
	Key    string `env:"CALLBACKD_EXPORT_KEY" help:"Export this API key only. Default: all."`
	Format string `default:"yaml" enum:"yaml,json" help:"yaml or json."`
}

// Run prints the settings as a file.
func (c *exportSettingsCmd) Run(e *env) error {
	file, err := c.read(e.ctx)
	if err != nil {
		return err
	}
	out, err := json.MarshalIndent(file, "", "  ")
	if err == nil && c.Format == "yaml" {
		out, err = settings.YAML(out)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", strings.TrimSuffix(string(out), "\n"))
	return err
}

func (c *exportSettingsCmd) read(ctx context.Context) (out wire.SettingsFile, err error) {
	admin, err := c.admin()
	if err != nil {
		return out, err
	}
	if admin != nil {
		path := "/v1/admin/settings/export"
		if c.Key != "" {
			path += "?key=" + url.QueryEscape(c.Key)
		}
		return out, admin.Do(ctx, "GET", path, nil, &out)
	}
	s, err := c.inspect(ctx)
	if err != nil {
		return out, err
	}
	now, err := s.ReadSettings(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return out, err
	}
	if c.Key != "" {
		for _, k := range now {
			if k.Key.APIKey == c.Key {
				return settings.Export([]callbackd.KeySettings{k})
			}
		}
		return out, callbackd.Errorf(callbackd.KindNotFound, "there is no API key %s; `callbackd keys list` shows them", c.Key)
	}
	return settings.Export(now)
}

type applyCmd struct {
	settingsFlags
	File        string `short:"f" required:"" placeholder:"FILE" help:"File with the settings, in YAML or JSON, as callbackd export settings prints it; - for standard input."`
	DryRun      bool   `help:"Print what would change, and change nothing."`
	Prune       bool   `help:"Also remove what the file does not name: revoke API keys, and delete callbacks of those that have the member callbacks. Needs --yes."`
	Yes         bool   `help:"Remove without another question what --prune removes."`
	Fingerprint string `placeholder:"TEXT" help:"Apply only when the settings are still those of the dry run that printed this fingerprint."`
	JSON        bool   `help:"Print JSON instead of text."`
}

// Run makes the settings like the file, or prints what would change.
func (c *applyCmd) Run(e *env) error {
	doc, err := c.parse()
	if err != nil {
		return err
	}
	plan, err := c.apply(e.ctx, doc, true, c.Fingerprint)
	if err != nil {
		return c.placed(doc, err)
	}
	if c.DryRun {
		return c.print(e.stdout, plan)
	}
	if plan.Removed > 0 && !c.Yes {
		if err := c.print(e.stdout, plan); err != nil {
			return err
		}
		return settingf("--prune would remove what the file does not name (%d in all), and a revoked API key cannot come back. Nothing was changed; add --yes to remove it", plan.Removed)
	}
	if len(plan.Changes) > 0 {
		if plan, err = c.apply(e.ctx, doc, false, plan.Fingerprint); err != nil {
			return c.placed(doc, err)
		}
	}
	return c.print(e.stdout, plan)
}

// maxSecretFile is how much of the file of a secret is read, in bytes.
const maxSecretFile = 64 << 10

// parse reads the file, and the variables and files that it refers to.
func (c *applyCmd) parse() (*settings.Document, error) {
	text, err := readLimited(c.File, settings.MaxFile+1)
	if err != nil {
		return nil, settingf("--file: %v", err)
	}
	doc, err := settings.Parse(text)
	if err != nil {
		return nil, settingf("%s: %s", c.File, callbackd.Sentence(err))
	}
	env := func(name string) (string, error) {
		text := os.Getenv(name)
		if text == "" {
			return "", fmt.Errorf("the environment has no variable %s, or it is empty", name)
		}
		return text, nil
	}
	file := func(path string) (string, error) {
		text, err := readLimited(path, maxSecretFile)
		if err == nil && strings.TrimSpace(string(text)) == "" {
			err = fmt.Errorf("the file %s is empty", path)
		}
		return strings.TrimSpace(string(text)), err
	}
	if err = doc.Resolve(env, file); err == nil {
		_, err = settings.Read(doc.JSON)
	}
	return doc, c.placed(doc, err)
}

// readLimited reads up to limit bytes of a file; - is standard input.
func readLimited(path string, limit int64) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, limit))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// placed makes an error about the file one of a setting, as it is when a server starts with a
// wrong file, and adds the file and the line that it names. Other errors stay as they are.
func (c *applyCmd) placed(doc *settings.Document, err error) error {
	if err == nil {
		return nil
	}
	message, wrong := err.Error(), slices.Contains([]callbackd.Kind{callbackd.KindInvalid, callbackd.KindTooLarge}, callbackd.KindOf(err))
	var answer *client.Error
	if errors.As(err, &answer) {
		message, wrong = answer.Message, answer.Status == http.StatusBadRequest || answer.Status == http.StatusRequestEntityTooLarge
	}
	if line := doc.Line(message); line > 0 {
		return settingf("%s:%d: %s", c.File, line, message)
	}
	if wrong {
		return settingf("%s: %s", c.File, message)
	}
	return err
}

// apply plans with the server or in the store, and makes the changes unless dry is set.
func (c *applyCmd) apply(ctx context.Context, doc *settings.Document, dry bool, fingerprint string) (*wire.SettingsPlan, error) {
	admin, err := c.admin()
	if err != nil {
		return nil, err
	}
	if admin != nil {
		out, err := admin.ApplySettings(ctx, wire.SettingsApplication{Settings: doc.JSON, DryRun: dry, Prune: c.Prune, Fingerprint: fingerprint})
		return &out, err
	}
	file, err := settings.Read(doc.JSON)
	if err != nil {
		return nil, err
	}
	planner := settings.Planner{File: file, Options: settings.NewOptions(c.Prune, false, time.Now()), Fingerprint: fingerprint}
	if dry {
		err = c.plan(ctx, &planner)
	} else {
		err = c.change(ctx, &planner)
	}
	if err != nil {
		return nil, err
	}
	out := planner.Plan.Show(!dry)
	out.Keys, out.Warnings = []wire.SettingsNewKey{}, []string{}
	if !dry {
		out.Keys = planner.Plan.NewKeys()
	}
	return &out, nil
}

func (c *applyCmd) plan(ctx context.Context, p *settings.Planner) error {
	s, err := c.inspect(ctx)
	if err != nil {
		return err
	}
	now, err := s.ReadSettings(ctx)
	if err == nil {
		_, err = p.Changes(now)
	}
	return errors.Join(err, s.Close())
}

// change makes the changes in the store. A server would go on with the callbacks that it
// knows, so none may run.
func (c *applyCmd) change(ctx context.Context, p *settings.Planner) error {
	s, err := c.storeConfig().Alone(ctx)
	if callbackd.KindOf(err) == callbackd.KindUnavailable {
		return fmt.Errorf("%w. With --token the running server makes the changes; `callbackd tokens create` makes a token", err)
	}
	if err != nil {
		return err
	}
	_, err = s.ChangeSettings(ctx, p.Changes)
	return errors.Join(err, s.Close())
}

// print prints a plan.
func (c *applyCmd) print(out io.Writer, p *wire.SettingsPlan) error {
	if c.JSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return enc.Encode(p)
	}
	_, err := io.WriteString(out, planText(p))
	return err
}

// planText returns a plan for a person: a line for each change, and below it the members.
func planText(p *wire.SettingsPlan) string {
	var b strings.Builder
	marks := map[string]string{"create": "+", "change": "~", "remove": "-"}
	shown := func(s string) string { return safetext.Escape(s) }
	for _, c := range p.Changes {
		key := shown(c.Account)
		if c.KeyName != "" {
			key += " / " + shown(c.KeyName)
		}
		if c.APIKey != "" {
			key += " (" + shown(c.APIKey) + ")"
		}
		what := "API key " + key
		if c.Event != "" {
			what = "callback " + shown(c.Event) + " " + shown(c.Name) + " of " + key
		}
		fmt.Fprintf(&b, "%s %s\n", marks[c.Action], what)
		for _, m := range c.Members {
			switch {
			case m.Before == "":
				fmt.Fprintf(&b, "    + %s: %s\n", m.Name, shown(m.After))
			case m.After == "":
				fmt.Fprintf(&b, "    - %s: %s\n", m.Name, shown(m.Before))
			default:
				fmt.Fprintf(&b, "    ~ %s: %s → %s\n", m.Name, shown(m.Before), shown(m.After))
			}
		}
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", shown(w))
	}
	would := "to create, %d to change, %d to remove; fingerprint %s"
	if p.Applied {
		would = "created, %d changed, %d removed; fingerprint of what was there before: %s"
	}
	if len(p.Changes) == 0 {
		b.WriteString("nothing to change: ")
	}
	fmt.Fprintf(&b, "%d "+would+"\n", p.Created, p.Changed, p.Removed, p.Fingerprint)
	for _, k := range p.Keys {
		fmt.Fprintf(&b, "\nnew API key of %s\napi key     %s\napi secret  %s\n", shown(k.Account), k.APIKey, k.Secret)
	}
	return b.String()
}

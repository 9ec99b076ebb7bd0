package cli

import (
	"net/url"
	"strings"

	"callbackd/client"
)

// accountFlags are the options of commands that call a server with an API key.
type accountFlags struct {
	Server  string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" help:"URL of the server."`
	Account string `env:"CALLBACKD_ACCOUNT" help:"Account name of the API key."`
	Key     string `env:"CALLBACKD_KEY" help:"API key."`
	Secret  string `env:"CALLBACKD_SECRET" secret:"" help:"API secret. Also from a file: CALLBACKD_SECRET_FILE."`
}

// hasKey reports whether an API key is given in full.
func (f *accountFlags) hasKey() bool { return f.Account != "" && f.Key != "" && f.Secret != "" }

// client returns a client of the server. It fails when something of the API key is missing.
func (f *accountFlags) client() (*client.Client, error) {
	var missing []string
	for _, o := range []struct{ option, variable, value string }{
		{"--account", "CALLBACKD_ACCOUNT", f.Account}, {"--key", "CALLBACKD_KEY", f.Key}, {"--secret", "CALLBACKD_SECRET", f.Secret},
	} {
		if o.value == "" {
			missing = append(missing, o.variable+" or "+o.option)
		}
	}
	if len(missing) > 0 {
		return nil, settingf("the command needs an API key; set %s", strings.Join(missing, ", "))
	}
	u, err := url.Parse(f.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, settingf("--server %q is not the URL of a server; write for example %s", f.Server, defaultURL)
	}
	return &client.Client{Base: strings.TrimSuffix(f.Server, "/"), Account: f.Account, APIKey: f.Key, APISecret: f.Secret}, nil
}

// callFlags are the options of commands that call a server and print its answer.
type callFlags struct {
	accountFlags
	JSON bool `help:"Print JSON instead of text."`
}

package cli

import (
	"net/url"
	"strings"

	"callbackd/client"
)

// profileFlag is the option of commands that may take settings from a profile: those options
// that have profileTag.
type profileFlag struct {
	Profile string `env:"CALLBACKD_PROFILE" placeholder:"NAME" help:"Profile with the server's URL and an API key, as callbackd login writes it. Other options win over it."`
}

// keyFlags are the options of commands that sign with an API key.
type keyFlags struct {
	profileFlag
	Account string `env:"CALLBACKD_ACCOUNT" profile:"account" help:"Account name of the API key."`
	Key     string `env:"CALLBACKD_KEY" profile:"key" help:"API key."`
	Secret  string `env:"CALLBACKD_SECRET" profile:"secret" secret:"" help:"API secret. Also from a file: CALLBACKD_SECRET_FILE."`
}

// hasKey reports whether an API key is given in full.
func (f *keyFlags) hasKey() bool { return f.Account != "" && f.Key != "" && f.Secret != "" }

// checkKey returns an error when something of the API key is missing.
func (f *keyFlags) checkKey() error {
	var missing []string
	for _, o := range []struct{ option, variable, value string }{
		{"--account", "CALLBACKD_ACCOUNT", f.Account}, {"--key", "CALLBACKD_KEY", f.Key}, {"--secret", "CALLBACKD_SECRET", f.Secret},
	} {
		if o.value == "" {
			missing = append(missing, o.variable+" or "+o.option)
		}
	}
	if len(missing) > 0 {
		return settingf("the command needs an API key; set %s, or store the key in a profile with `callbackd login`", strings.Join(missing, ", "))
	}
	return nil
}

// accountFlags are the options of commands that call a server with an API key.
type accountFlags struct {
	Server string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" profile:"server" help:"URL of the server."`
	keyFlags
}

// client returns a client of the server. It fails when something of the API key is missing.
func (f *accountFlags) client() (*client.Client, error) {
	if err := f.checkKey(); err != nil {
		return nil, err
	}
	if err := checkServer(f.Server); err != nil {
		return nil, err
	}
	return &client.Client{Base: strings.TrimSuffix(f.Server, "/"), Account: f.Account, APIKey: f.Key, APISecret: f.Secret}, nil
}

// checkServer returns an error unless the value of --server is the URL of a server.
func checkServer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return settingf("--server %q is not the URL of a server; write for example %s", text, defaultURL)
	}
	return nil
}

// callFlags are the options of commands that call a server and print its answer.
type callFlags struct {
	accountFlags
	JSON bool `help:"Print JSON instead of text."`
}

package cli

import (
	"errors"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/app"
	"callbackd/internal/console"
	"callbackd/internal/store"
)

// consoleOptions are the options of serve about how the console looks and what links for
// customers may do.
type consoleOptions struct {
	ConsoleName    string   `env:"CALLBACKD_CONSOLE_NAME" placeholder:"NAME" help:"Name of the console, up to 40 bytes, in place of callbackd."`
	ConsoleLogo    string   `env:"CALLBACKD_CONSOLE_LOGO" placeholder:"FILE" help:"Logo of the console: a PNG image, or an SVG image that only draws, of up to 256 KiB."`
	ConsoleColor   string   `env:"CALLBACKD_CONSOLE_COLOR" placeholder:"#RRGGBB" help:"Colour of the buttons of the console, such as #1a2b3c. The text on it is black or white, whichever is easier to read."`
	ReturnOrigin   []string `env:"CALLBACKD_RETURN_ORIGIN" placeholder:"ORIGIN" help:"Origin to which a link for a customer may lead back, such as https://app.example.com. Repeat the option, or separate origins with commas."`
	FrameAncestors []string `env:"CALLBACKD_FRAME_ANCESTORS" placeholder:"ORIGIN" help:"Origin whose pages may show the console in a frame, such as https://app.example.com, to who is signed in by a link for a customer. Needs TLS. Repeat the option, or separate origins with commas."`
}

// read checks the options.
func (o *consoleOptions) read(out *app.ConsoleConfig) (err error) {
	var logo []byte
	if o.ConsoleLogo != "" {
		if logo, err = readLimited(o.ConsoleLogo, console.MaxLogo+1); err != nil {
			return settingf("--console-logo: %v", err)
		}
		if len(logo) == 0 {
			return settingf("--console-logo %s is empty", o.ConsoleLogo)
		}
	}
	if out.Brand, err = console.NewBrand(o.ConsoleName, logo, o.ConsoleColor); err != nil {
		return settingf("--console-name, --console-logo or --console-color: %v", err)
	}
	if out.ReturnOrigins, err = pageOrigins("--return-origin", o.ReturnOrigin); err != nil {
		return err
	}
	out.FrameAncestors, err = pageOrigins("--frame-ancestors", o.FrameAncestors)
	return err
}

func pageOrigins(option string, texts []string) (out []string, err error) {
	for _, text := range texts {
		origin, ok := callbackd.PageOrigin(text)
		if !ok {
			return nil, settingf("%s %q is not the origin of a page; write for example https://app.example.com, without a path. Only on this machine it may be http", option, text)
		}
		out = append(out, origin)
	}
	return out, nil
}

type keysLinkCmd struct {
	dataFlag
	profileFlag
	Key      string                `arg:"" help:"The API key."`
	Role     callbackd.ConsoleRole `default:"viewer" enum:"viewer,developer" env:"CALLBACKD_LINK_ROLE" help:"What the person may do: viewer reads, without secrets; developer also changes callbacks, sends tests, resends and replays."`
	ReturnTo string                `placeholder:"URL" help:"Where \"Back to …\" leads. It is shown when the server allows its origin: --return-origin."`
	Expires  time.Duration         `name:"expires-in" default:"8h" help:"How long the browser stays signed in: 5m to 7d."`
	Server   string                `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" profile:"server" help:"URL at which a browser reaches the server."`
}

// Run prints a link that works once.
func (c *keysLinkCmd) Run(e *env) error {
	link := callbackd.ConsoleLink{Role: c.Role, ReturnTo: c.ReturnTo, Lasts: c.Expires}
	if err := checkDuration("--expires-in", c.Expires, callbackd.MinVisit, callbackd.MaxVisit); err != nil {
		return err
	}
	if c.ReturnTo != "" {
		if err := callbackd.CheckReturnTo(c.ReturnTo, []string{callbackd.Origin(c.ReturnTo)}); err != nil {
			return settingf("--%v", err)
		}
	}
	s, err := c.existing(e.ctx)
	if err != nil {
		return err
	}
	token, hash := apikey.NewLinkToken()
	if err := errors.Join(c.create(e, s, hash, link), s.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, callbackd.CustomerURL(c.Server, token))
	return err
}

func (c *keysLinkCmd) create(e *env, s store.Store, hash [32]byte, link callbackd.ConsoleLink) error {
	key, err := s.Key(e.ctx, c.Key)
	if err != nil {
		return err
	}
	if now := time.Now(); !key.InForce(now) {
		return callbackd.Errorf(callbackd.KindConflict, "the API key %s is %s, so a link would not sign in", c.Key, key.State(now))
	}
	return s.CreateLogin(e.ctx, store.NewCustomerLink(hash, key.ID, link, time.Now()))
}

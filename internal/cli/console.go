package cli

import (
	"errors"
	"fmt"
	"time"

	"callbackd/internal/console"
)

// defaultURL is the URL of a server with default options.
const defaultURL = "http://127.0.0.1:8080"

type consoleCmd struct {
	dataFlag
	profileFlag
	Server string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" profile:"server" help:"URL at which a browser reaches the server."`
}

// Run prints a one-time link. Anybody who can write to the store counts as the operator.
func (c *consoleCmd) Run(e *env) error {
	s, err := c.existing(e.ctx)
	if err != nil {
		return err
	}
	link, login := console.NewLink(c.Server, time.Now())
	err = s.CreateLogin(e.ctx, login)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", link)
	return err
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

type tokensCmd struct {
	Create tokensCreateCmd `cmd:"" help:"Create an operator token and print it. It is shown once."`
	List   tokensListCmd   `cmd:"" help:"List operator tokens, without their texts."`
	Revoke tokensRevokeCmd `cmd:"" help:"Revoke an operator token: the next call with it is refused."`
}

type tokensCreateCmd struct {
	dataFlag
	Name    string              `required:"" help:"Who or what uses the token, such as terraform. No two tokens in force have one name."`
	Role    callbackd.TokenRole `required:"" enum:"read,full" help:"What the token may do: read, or full to change everything too."`
	Expires time.Duration       `name:"expires-after" default:"90d" help:"How long the token is valid: 1m to 730d, such as 30d."`
	Server  string              `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" help:"URL of the server, for the command that is printed."`
	JSON    bool                `help:"Print JSON instead of text."`
}

// Run creates a token.
func (c *tokensCreateCmd) Run(e *env) error {
	if err := checkDuration("--expires-after", c.Expires, callbackd.MinTokenLifetime, callbackd.MaxTokenLifetime); err != nil {
		return err
	}
	now := time.Now()
	token, text, err := apikey.NewToken(c.Name, c.Role, c.Expires, now)
	if err != nil {
		return settingf("--%v", err)
	}
	s, err := c.open(e.ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(s.CreateToken(e.ctx, token), s.Close()); err != nil {
		return err
	}
	if c.JSON {
		out := view.OperatorToken(&token, now)
		out.Token = text.Reveal()
		return json.NewEncoder(e.stdout).Encode(out)
	}
	_, err = fmt.Fprintf(e.stdout, "id       %s\nname     %s\nrole     %s\nexpires  %s\ntoken    %s\n\nThe token is shown once. Try:\n  curl -H 'Authorization: Bearer %s' %s/v1/admin/tokens\n",
		token.ID, token.Name, token.Role, token.ExpiresAt.Format(time.RFC3339), text.Reveal(), text.Reveal(), strings.TrimSuffix(c.Server, "/"))
	return err
}

type tokensListCmd struct {
	dataFlag
	JSON bool `help:"Print JSON instead of text, one token a line."`
}

// Run lists the tokens.
func (c *tokensListCmd) Run(e *env) error {
	s, err := c.inspect(e.ctx)
	if err != nil {
		return err
	}
	tokens, err := s.ListTokens(e.ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	w, now := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0), time.Now()
	if !c.JSON {
		fmt.Fprintln(w, "ID\tNAME\tROLE\tSTATE\tCREATED\tEXPIRES\tLAST USED")
	}
	for i := range tokens {
		t := &tokens[i]
		if c.JSON {
			if err := json.NewEncoder(e.stdout).Encode(view.OperatorToken(t, now)); err != nil {
				return err
			}
			continue
		}
		used := "never"
		if !t.LastUsedAt.IsZero() {
			used = t.LastUsedAt.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.Role, t.State(now), t.CreatedAt.Format(time.RFC3339), t.ExpiresAt.Format(time.RFC3339), used)
	}
	return w.Flush()
}

type tokensRevokeCmd struct {
	dataFlag
	Token string `arg:"" help:"ID of the token, or its name."`
}

// Run revokes a token.
func (c *tokensRevokeCmd) Run(e *env) error {
	s, err := c.existing(e.ctx)
	if err != nil {
		return err
	}
	id, err := c.id(e, s)
	if err == nil {
		_, err = s.RevokeToken(e.ctx, id, time.Now())
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, "revoked", c.Token)
	return err
}

// id returns the ID of the token that the argument names. Only one token in force has a
// name.
func (c *tokensRevokeCmd) id(e *env, s store.Tokens) (string, error) {
	tokens, err := s.ListTokens(e.ctx)
	if err != nil {
		return "", err
	}
	now := time.Now()
	for _, t := range tokens {
		if t.Name == c.Token && t.InForce(now) {
			return t.ID, nil
		}
	}
	return c.Token, nil
}

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"callbackd/internal/app"
	"callbackd/internal/console"
	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
	"callbackd/wire"
)

// operatorFlags are the options of commands that ask a running server as the operator.
type operatorFlags struct {
	profileFlag
	Server        string `default:"http://127.0.0.1:8080" aliases:"url" env:"CALLBACKD_URL" profile:"server" help:"URL of the server."`
	OperatorToken string `env:"CALLBACKD_OPERATOR_TOKEN" secret:"" placeholder:"TOKEN" help:"The server's operator token. Also from a file: CALLBACKD_OPERATOR_TOKEN_FILE."`
}

// maxOperatorAnswer limits an answer, in bytes.
const maxOperatorAnswer = 4 << 20

// ask makes a call as the operator and reads its answer into out.
func (f *operatorFlags) ask(ctx context.Context, method, path, token string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*healthTimeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(f.Server, "/")+path, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" {
		return settingf("--server %q is not the URL of a server; write for example %s", f.Server, defaultURL)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("callbackd does not answer at %s: %w; is it running, and is the URL right?", f.Server, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxOperatorAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of callbackd: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var m wire.Message
		_ = json.Unmarshal(raw, &m) // another program's answer has no message
		return fmt.Errorf("%s answers %s: %s", f.Server, res.Status, safetext.Escape(m.Message))
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s is not callbackd: %w", f.Server, err)
	}
	return nil
}

type statusCmd struct {
	operatorFlags
	JSON bool `help:"Print JSON instead of text."`
}

// Run prints what a server says of itself. It fails when the server is not ready.
func (c *statusCmd) Run(e *env) error {
	var s wire.Status
	if err := c.ask(e.ctx, http.MethodGet, app.StatusPath, c.OperatorToken, nil, &s); err != nil {
		return err
	}
	err := c.print(e.stdout, &s)
	if err == nil && !s.Ready {
		return exit(exitFailed)
	}
	return err
}

func (c *statusCmd) print(out io.Writer, s *wire.Status) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(s)
	}
	now := time.Now()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("version", "%s, up %s", safetext.Escape(s.Version), humanize.Duration(now.Sub(s.StartedAt)))
	if s.Ready {
		row("ready", "yes")
	} else {
		row("ready", "NO: %s", safetext.Escape(s.Reason))
	}
	row("store", "%s", safetext.Escape(s.Store))
	row("log level", "%s", safetext.Escape(s.LogLevel))
	row("in flight", "%s", humanize.Plural(s.InFlight, "attempt"))
	if s.Pending == nil {
		row("pending", "unknown: the store does not answer")
	} else {
		due := "none is due"
		if s.OldestDue != nil {
			due = "the oldest has been due for " + humanize.Duration(max(0, now.Sub(*s.OldestDue)))
		}
		row("pending", "%s, %s", humanize.Plural(*s.Pending, "delivery"), due)
	}
	row("in trouble", "%s", humanize.Plural(s.Troubled, "callback"))
	if i := s.Incidents; i != nil {
		mails := ""
		if i.Mails > 0 {
			mails = fmt.Sprintf("; the mail about %s waits", humanize.Number(i.Mails))
		}
		if i.MailsFailing > 0 {
			mails += fmt.Sprintf(", and about %s COULD NOT BE SENT yet", humanize.Number(i.MailsFailing))
		}
		row("incidents", "%s open%s", humanize.Number(i.Open), mails)
	}
	if a := s.Archive; a != nil {
		row("archive", "CANNOT BE WRITTEN since %s, so nothing old is removed: %s", humanize.Time(a.FailingSince), safetext.Escape(a.Error))
	}
	for _, n := range s.Nodes {
		self := ""
		if n.Self {
			self = ", which answers"
		}
		row("node", "%s at %s, %s, up %s, %s shards, %s in flight%s", safetext.Escape(n.Name), safetext.Escape(n.Address), safetext.Escape(n.Version),
			humanize.Duration(now.Sub(n.StartedAt)), humanize.Number(n.Shards), humanize.Number(n.InFlight), self)
	}
	for _, f := range s.Errors {
		text := f.Message
		if f.Error != "" {
			text += ": " + f.Error
		}
		row(f.Level, "%s, %s times: %s", humanize.Time(f.At), humanize.Number(f.Count), safetext.Escape(text))
	}
	return w.Flush()
}

type logLevelCmd struct {
	operatorFlags
	dataFlag
	Level string `arg:"" enum:"debug,info,warn,error" help:"The lowest level to log: debug, info, warn or error."`
}

// Run changes the level. Without an operator token it puts a one-time token into the store,
// because anybody who can write there counts as the operator.
func (c *logLevelCmd) Run(e *env) error {
	token := c.OperatorToken
	if token == "" {
		s, err := c.existing(e.ctx)
		if err != nil {
			return fmt.Errorf("without --operator-token the server's store proves who you are: %w", err)
		}
		once, login := console.NewToken(time.Now())
		err = s.CreateLogin(e.ctx, login)
		if err = errors.Join(err, s.Close()); err != nil {
			return err
		}
		token = once
	}
	var now wire.LogLevel
	if err := c.ask(e.ctx, http.MethodPut, app.LogLevelPath, token, wire.LogLevel{Level: c.Level}, &now); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "The server logs %s and above until its next start.\n", safetext.Escape(now.Level))
	return err
}

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/progress"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List who changed what, newest first."`
	Verify auditVerifyCmd `cmd:"" help:"Verify that no entry of the audit log was changed, added or removed. Exit code 1 when one was."`
}

type auditListCmd struct {
	dataFlag
	Key      string `env:"CALLBACKD_AUDIT_KEY" help:"List changes of this API key only."`
	Action   string `help:"List this action only, such as callback.replaced."`
	Actor    string `help:"List changes by this kind of actor only: api_key, api_key_console, console_link, operator, operator_token, command_line, receiver, callbackd or unknown."`
	Callback string `help:"List changes of the callback with this ID only, such as 12."`
	Since    string `help:"List changes at or after this time: 2026-01-02T15:04:05Z, or 2h or 3d for that long ago."`
	Until    string `help:"List changes before this time, written as for --since."`
	Limit    int    `default:"50" help:"Largest number of changes to list; 0 for all."`
	JSON     bool   `help:"Print JSON instead of text, one change a line."`
}

// query reads the options.
func (c *auditListCmd) query(now time.Time) (q store.AuditQuery, err error) {
	q = store.AuditQuery{Action: callbackd.AuditAction(c.Action), Kind: callbackd.ActorKind(c.Actor), Limit: store.MaxPage}
	if c.Callback != "" {
		id, err := strconv.ParseInt(c.Callback, 10, 64)
		if err != nil || id < 1 {
			return q, settingf("--callback %q is not the ID of a callback; GET /v1/callbacks/:event/policy and the console show it", c.Callback)
		}
		q.Target = callbackd.CallbackID(id)
	}
	if c.Action != "" && !q.Action.Valid() {
		return q, settingf("--action %q is not an action; the actions are %s", c.Action, joined(callbackd.AuditActions))
	}
	if c.Actor != "" && !q.Kind.Valid() {
		return q, settingf("--actor %q is not a kind of actor; the kinds are %s", c.Actor, joined(callbackd.ActorKinds))
	}
	if c.Limit < 0 {
		return q, settingf("--limit %d is negative; 0 lists all", c.Limit)
	}
	for _, bound := range []struct {
		name, text string
		to         *time.Time
	}{{"--since", c.Since, &q.Since}, {"--until", c.Until, &q.Until}} {
		at, err := pointInTime(bound.name, bound.text, now)
		if err != nil {
			return q, err
		}
		if at != nil {
			*bound.to = *at
		}
	}
	return q, nil
}

func joined[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

// Run lists the entries.
func (c *auditListCmd) Run(e *env) error {
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	s, err := c.inspect(e.ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.list(e, s, q), s.Close())
}

func (c *auditListCmd) list(e *env, s store.Store, q store.AuditQuery) error {
	keys, err := s.ListKeys(e.ctx)
	if err != nil {
		return err
	}
	names := map[callbackd.KeyID]string{}
	for _, k := range keys {
		names[k.ID] = k.APIKey
		if k.APIKey == c.Key {
			q.Key = k.ID
		}
	}
	if c.Key != "" && q.Key == 0 {
		return callbackd.Errorf(callbackd.KindNotFound, "there is no API key %s; `callbackd keys list` shows them", c.Key)
	}
	for n := 0; ; {
		page, err := s.ListAudit(e.ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			if err := c.print(e.stdout, &page.Entries[i], names); err != nil {
				return err
			}
			if n++; n == c.Limit {
				return nil
			}
		}
		if q.After = page.Next; q.After.Number == 0 {
			return nil
		}
	}
}

// listedAudit is an entry with the API key that it belongs to.
type listedAudit struct {
	APIKey string `json:"api_key"` // empty when it belongs to none
	wire.AuditEntry
}

func (c *auditListCmd) print(w io.Writer, e *callbackd.AuditEntry, names map[callbackd.KeyID]string) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(listedAudit{names[e.Key], view.Audit(e, false)})
	}
	line := e.At.Format(time.RFC3339) + "  " + string(e.Action)
	if e.Subject != "" {
		line += "  " + e.Subject
	}
	if name := names[e.Key]; name != "" && name != e.Subject {
		line += "  of " + name
	}
	line += "  by " + e.Actor.String()
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	for _, d := range callbackd.AuditDifferences(e) {
		if _, err := fmt.Fprintf(w, "    %s: %s → %s\n", d.Name, shownValue(d.Before), shownValue(d.After)); err != nil {
			return err
		}
	}
	return nil
}

// shownValue is one side of a difference.
func shownValue(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

type auditVerifyCmd struct {
	dataFlag
	Head  []string `placeholder:"HEAD" help:"Head that was noted earlier, as this command prints it. The log must still have it. Repeat the option for several."`
	Heads string   `placeholder:"FILE" help:"Output of an earlier run of this command, with the heads of that time."`
	JSON  bool     `help:"Print JSON instead of text."`
}

// heads reads the heads that were noted.
func (c *auditVerifyCmd) heads() (heads []callbackd.AuditHead, err error) {
	for _, text := range c.Head {
		h, ok := callbackd.ParseAuditHead(text)
		if !ok {
			return nil, settingf("--head %q is not a head; copy one from the output of `callbackd audit verify`, such as 3.17. and 64 hexadecimal digits", text)
		}
		heads = append(heads, h)
	}
	if c.Heads == "" {
		return heads, nil
	}
	f, err := os.Open(c.Heads)
	if err != nil {
		return nil, settingf("--heads: %v", err)
	}
	defer f.Close()
	before := len(heads)
	words := bufio.NewScanner(f)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		if h, ok := callbackd.ParseAuditHead(strings.Trim(words.Text(), `",`)); ok {
			heads = append(heads, h)
		}
	}
	if err := words.Err(); err != nil {
		return nil, settingf("--heads %s cannot be read: %v", c.Heads, err)
	}
	if len(heads) == before {
		return nil, settingf("--heads %s has no head; give the output of an earlier `callbackd audit verify`", c.Heads)
	}
	return heads, nil
}

// verifiedChain is a chain in the output of audit verify --json.
type verifiedChain struct {
	APIKey  string `json:"api_key"` // empty for what belongs to no API key
	Entries int64  `json:"entries"`
	Removed int64  `json:"removed"` // by age or by number
	Head    string `json:"head"`
}

// Run checks the chains and prints their heads.
func (c *auditVerifyCmd) Run(e *env) error {
	heads, err := c.heads()
	if err != nil {
		return err
	}
	s, err := c.inspect(e.ctx)
	if err != nil {
		return err
	}
	bar := progress.New(e.stderr, "entries", humanize.Number[int64])
	report, err := s.VerifyAudit(e.ctx, heads, func(done, total int64) bool { bar.Show(done, total, ""); return true })
	bar.Clear()
	names := map[callbackd.KeyID]string{}
	if err == nil {
		var keys []callbackd.Key
		keys, err = s.ListKeys(e.ctx)
		for _, k := range keys {
			names[k.ID] = k.APIKey
		}
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	var total int64
	chains := []verifiedChain{}
	for _, chain := range report.Chains {
		v := verifiedChain{APIKey: names[chain.Key], Entries: chain.Last - chain.First + 1, Removed: chain.First - 1, Head: chain.HeadOf().String()}
		total += v.Entries
		chains = append(chains, v)
	}
	if err := c.print(e.stdout, report, chains, total); err != nil {
		return err
	}
	if report.FaultN > 0 {
		return exit(1)
	}
	return nil
}

func (c *auditVerifyCmd) print(out io.Writer, report *store.AuditReport, chains []verifiedChain, total int64) error {
	if c.JSON {
		faults := append([]string{}, report.Faults...)
		return json.NewEncoder(out).Encode(map[string]any{"entries": total, "chains": chains, "faults": faults, "fault_count": report.FaultN})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "API KEY\tENTRIES\tREMOVED\tHEAD")
	for _, v := range chains {
		name := v.APIKey
		if name == "" {
			name = "none"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, humanize.Number(v.Entries), humanize.Number(v.Removed), v.Head)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range report.Faults {
		fmt.Fprintln(out, "FAULT:", f)
	}
	verdict := "no entry was changed, added or removed"
	if report.FaultN > 0 {
		verdict = humanize.Plural(report.FaultN, "fault")
	}
	_, err := fmt.Fprintf(out, "%s, %s\n", humanize.Plural(total, "entry"), verdict)
	return err
}

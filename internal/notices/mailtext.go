package notices

import (
	"fmt"
	"strings"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/mail"
	"callbackd/internal/safetext"
)

// mailed is an incident that a mail tells of.
type mailed struct {
	callbackd.Incident
	typ  callbackd.EventType
	told int            // see [callbackd.Incident.Notice]
	key  *callbackd.Key // nil: the whole server
}

// maxInSummary is how many incidents a mail names.
const maxInSummary = 100

// compose returns the mail about some incidents.
func compose(all []mailed, consoleURL string) mail.Message {
	m := ofOne(&all[0])
	if len(all) > 1 {
		m = summary(all)
	}
	if consoleURL != "" {
		m.Text += "\nIncidents: " + consoleURL + "\n"
	}
	m.Text += "\nWho mutes an incident gets no mail about it.\n"
	return m
}

// ofOne returns the mail about one incident, without its end.
func ofOne(i *mailed) mail.Message {
	var t strings.Builder
	row := func(name, value string) { fmt.Fprintf(&t, "%-10s %s\n", name+":", safetext.Line(value)) }
	t.WriteString(safetext.Line(i.Text()) + "\n\n")
	if i.key != nil {
		row("Account", i.key.Account)
		row("API key", keyName(i.key))
	}
	row("Incident", i.ID.String())
	row("Began", humanize.Time(i.OpenedAt))
	if i.Closed() {
		row("Ended", humanize.Time(i.ClosedAt))
	}
	m := mail.Message{ID: mailID(&i.Incident, i.Stage), Subject: "[callbackd] " + i.heading(), Text: t.String()}
	if i.Stage > 1 {
		m.After = mailID(&i.Incident, 1)
	}
	return m
}

// summary returns the mail about several incidents, without its end.
func summary(all []mailed) mail.Message {
	var t strings.Builder
	fmt.Fprintf(&t, "%d mails were held back, because too many came at once. They are about:\n\n", len(all))
	for n := range all {
		if n == maxInSummary {
			fmt.Fprintf(&t, "- and %d more\n", len(all)-n)
			break
		}
		fmt.Fprintf(&t, "- %s: %s\n", all[n].heading(), safetext.Line(all[n].Text()))
	}
	first := &all[0]
	return mail.Message{ID: mailID(&first.Incident, first.Stage) + ".more", Subject: fmt.Sprintf("[callbackd] %d incidents", len(all)), Text: t.String()}
}

// heading names an incident on one line: "CALLBACK:FAILING, acme production".
func (i *mailed) heading() string {
	account, key := "", ""
	if i.key != nil {
		account, key = i.key.Account, keyName(i.key)
	}
	return safetext.Line(callbackd.NoticeHeading(i.typ, i.Closed(), account, key))
}

// keyName returns the name of an API key, or the key when it has none.
func keyName(k *callbackd.Key) string {
	if k.Name == "" {
		return k.APIKey
	}
	return k.Name
}

// mailID returns the ID of the mail about a stage of an incident.
func mailID(i *callbackd.Incident, stage int) string { return fmt.Sprintf("%s.%d", i.ID, stage) }

package callbackd

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Format says what the body of a notice is like. The zero value is FormatJSON.
type Format string

// The formats.
const (
	FormatJSON  Format = "json"  // as other events: see the API's documentation
	FormatSlack Format = "slack" // what an incoming webhook of Slack takes
	FormatTeams Format = "teams" // what a workflow of Microsoft Teams takes: a message with an Adaptive Card
)

// Formats lists the formats.
var Formats = []Format{FormatJSON, FormatSlack, FormatTeams}

// ForPeople reports whether the body is a message for people, in the place of the event's
// members.
func (f Format) ForPeople() bool { return f == FormatSlack || f == FormatTeams }

// Message returns the body of a notice in a format for people: a JSON object.
func (f Format) Message(ev *Event) ([]byte, error) {
	var n struct {
		Text, State, Account string
		KeyName              string `json:"key_name"`
		Incident             string
	}
	if err := json.Unmarshal(ev.Data, &n); err != nil {
		return nil, fmt.Errorf("the data of the notice %s: %w", ev.ID, err)
	}
	heading := NoticeHeading(ev.Type, n.State == "closed", n.Account, n.KeyName)
	if ev.Test {
		heading = "Test: " + heading
	}
	if f == FormatSlack {
		// Without "mrkdwn" a * or _ in a name is what it is.
		return json.Marshal(map[string]any{"text": slackEscaper.Replace(heading + "\n" + n.Text), "mrkdwn": false})
	}
	return json.Marshal(teamsMessage(heading, n.Text, n.Incident))
}

// NoticeHeading names a notice on one line, as in "CALLBACK:FAILING, acme production".
// account and key are empty when it is about the whole server.
func NoticeHeading(t EventType, closed bool, account, key string) string {
	h := string(t)
	if closed && t != NoticeRecovered {
		h += " ended"
	}
	if of := strings.TrimSpace(account + " " + key); of != "" {
		h += ", " + of
	}
	return h
}

// slackEscaper has Slack show a text as it is: neither markup such as <!channel> nor a
// mention, also in programs that take the same messages and read a plain @channel.
var slackEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@\u200b")

// teamsMessage returns a message with a card. A RichTextBlock shows a text as it is; the
// other blocks of a card read Markdown, with which a name could be a link.
func teamsMessage(heading, text, incident string) any {
	line := func(text string, more map[string]any) map[string]any {
		run := map[string]any{"type": "TextRun", "text": text}
		for name, v := range more {
			run[name] = v
		}
		return map[string]any{"type": "RichTextBlock", "inlines": []any{run}}
	}
	card := map[string]any{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
		"type":    "AdaptiveCard", "version": "1.4", "fallbackText": heading,
		"body": []any{
			line(heading, map[string]any{"weight": "Bolder"}), line(text, nil), line(incident, map[string]any{"isSubtle": true, "size": "Small"}),
		},
	}
	return map[string]any{"type": "message", "attachments": []any{
		map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": card},
	}}
}

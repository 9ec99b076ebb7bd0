package callbackd_test

import (
	"encoding/json"
	"strings"
	"testing"

	"callbackd"
)

// hostile is what people may have chosen as a name.
const hostile = "<!channel> <@U1|x> @here & *bold* [a link](https://evil.example) \u202e</at>\x1b"

func notice(t *testing.T, text string) *callbackd.Event {
	t.Helper()
	data, err := json.Marshal(map[string]any{"text": text, "state": "closed", "account": hostile, "key_name": "k", "incident": "inc_1"})
	if err != nil {
		t.Fatal(err)
	}
	return &callbackd.Event{Type: callbackd.NoticeSilence, Data: data}
}

// A message for Slack has neither markup nor mentions of what people chose.
func TestAMessageForSlack(t *testing.T) {
	raw, err := callbackd.FormatSlack.Message(notice(t, "A sentence about "+hostile))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Text   string
		Markup bool `json:"mrkdwn"`
	}
	got.Markup = true
	if err := json.Unmarshal(raw, &got); err != nil || got.Markup {
		t.Fatalf("the message is %s: %v", raw, err)
	}
	if strings.ContainsAny(got.Text, "<>") || strings.Contains(got.Text, "@here") || strings.Contains(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(got.Text, "&amp;", ""), "&lt;", ""), "&gt;", ""), "&") {
		t.Errorf("the text is %q", got.Text)
	}
	if want := "SILENCE ended, &lt;!channel&gt; "; !strings.HasPrefix(got.Text, want) || !strings.Contains(got.Text, "\nA sentence about &lt;!channel&gt;") {
		t.Errorf("the text is %q, want one that begins with %q", got.Text, want)
	}
}

// A message for Teams shows what people chose in blocks that read no Markdown.
func TestAMessageForTeams(t *testing.T) {
	ev := notice(t, "A sentence about "+hostile)
	ev.Test = true
	raw, err := callbackd.FormatTeams.Message(ev)
	if err != nil {
		t.Fatal(err)
	}
	type block struct {
		Type    string
		Text    string
		Inlines []struct{ Type, Text string }
	}
	var got struct {
		Type        string
		Attachments []struct {
			ContentType string
			Content     struct {
				Type, Version string
				Body          []block
			}
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("the message is %s: %v", raw, err)
	}
	if got.Type != "message" || len(got.Attachments) != 1 || got.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" || got.Attachments[0].Content.Type != "AdaptiveCard" {
		t.Fatalf("the message is %s", raw)
	}
	var texts []string
	for _, b := range got.Attachments[0].Content.Body {
		if b.Type != "RichTextBlock" || len(b.Inlines) != 1 || b.Inlines[0].Type != "TextRun" || b.Text != "" {
			t.Fatalf("a block is %+v", b)
		}
		texts = append(texts, b.Inlines[0].Text)
	}
	if len(texts) != 3 || texts[0] != "Test: SILENCE ended, "+hostile+" k" || texts[1] != "A sentence about "+hostile || texts[2] != "inc_1" {
		t.Errorf("the texts are %q", texts)
	}
}

// Every notice has a message in each format, also one whose data is not as it should be.
func TestMessagesOfOddNotices(t *testing.T) {
	for data, fails := range map[string]bool{`{}`: false, `{"text":null}`: false, `{"text":7}`: true, `[]`: true, ``: true} {
		for _, f := range []callbackd.Format{callbackd.FormatSlack, callbackd.FormatTeams} {
			raw, err := f.Message(&callbackd.Event{Type: callbackd.NoticeDisk, Data: []byte(data)})
			if (err != nil) != fails || err == nil && !json.Valid(raw) {
				t.Errorf("%s of %q: %s, %v", f, data, raw, err)
			}
		}
	}
}

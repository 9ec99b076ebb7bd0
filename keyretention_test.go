package callbackd_test

import (
	"strings"
	"testing"
	"time"

	"callbackd"
)

func TestRetentionsHaveOneSpelling(t *testing.T) {
	r, err := callbackd.ParseRetentions(` {"SESSION:NOTE_INSERT": "24h", "SESSION:COMPLETE":"90m"}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := callbackd.FormatRetentions(r), `{"SESSION:COMPLETE":"1h30m","SESSION:NOTE_INSERT":"1d"}`; got != want {
		t.Errorf("the text is %s, want %s", got, want)
	}
	if got := callbackd.FormatRetentions(map[callbackd.EventType]time.Duration{}); got != "" {
		t.Errorf("without members the text is %q", got)
	}
	for text, want := range map[string]string{
		`[]`:                             "must be an object",
		`{"SESSION:COMPLETE":5}`:         "must be an object",
		`{"SESSION:NOTHING":"1d"}`:       "is not a type of event",
		`{"SESSION:COMPLETE":"59m"}`:     "from 1h to 3650d",
		`{"SESSION:COMPLETE":"3651d"}`:   "from 1h to 3650d",
		`{"SESSION:COMPLETE":"-1d"}`:     "from 1h to 3650d",
		`{"SESSION:COMPLETE":"forever"}`: "from 1h to 3650d",
	} {
		if _, err := callbackd.ParseRetentions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestAKeyRemovesByItsOwnRetention(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	k := callbackd.Key{}
	if others, types, err := k.RemovedBefore(now); err != nil || !others.IsZero() || len(types) > 0 {
		t.Errorf("a key without a retention removes before %v and %v: %v", others, types, err)
	}
	k.Retention, k.RetentionEvents = 48*time.Hour, `{"SESSION:COMPLETE":"1h"}`
	others, types, err := k.RemovedBefore(now)
	if err != nil || others != now.Add(-48*time.Hour) || len(types) != 1 || types[callbackd.Complete] != now.Add(-time.Hour) {
		t.Errorf("the key removes before %v and %v: %v", others, types, err)
	}
}

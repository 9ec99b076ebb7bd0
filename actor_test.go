package callbackd_test

import (
	"strings"
	"testing"

	"callbackd"
)

func TestAnActorAsText(t *testing.T) {
	for _, c := range []struct {
		actor callbackd.Actor
		want  string
	}{
		{callbackd.Actor{}, "unknown"},
		{callbackd.Actor{Kind: callbackd.ActorToken, Name: "ci", Address: "192.0.2.7"}, "operator token ci from 192.0.2.7"},
		{callbackd.Actor{Kind: callbackd.ActorSystem}, "callbackd"},
		{callbackd.Actor{Kind: callbackd.ActorCommand, Name: "a\x00b\xff", Address: strings.Repeat("é", 200)}, "command line a�b� from " + strings.Repeat("é", 100)},
	} {
		if got := c.actor.Clipped().String(); got != c.want {
			t.Errorf("%#v is %q, want %q", c.actor, got, c.want)
		}
	}
	for _, kind := range callbackd.ActorKinds {
		if kind.String() == "" {
			t.Errorf("the kind %q has no name", string(kind))
		}
	}
}

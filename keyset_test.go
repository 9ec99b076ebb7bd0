package callbackd_test

import (
	"strings"
	"testing"

	"callbackd"
)

func TestKeysetsAsText(t *testing.T) {
	for text, want := range map[string]struct {
		primary, waiting callbackd.SealingKey
		replaced         int
	}{
		"":          {0, 0, 0},
		"1*":        {1, 0, 0},
		"1* 2":      {1, 2, 0},
		"1 2*":      {2, 0, 1},
		"1 2* 3":    {2, 3, 1},
		"1 2 3* 4 ": {3, 4, 2},
	} {
		k := callbackd.ParseKeyset(text)
		if got := k.String(); got != strings.TrimSpace(text) {
			t.Errorf("%q is written as %q", text, got)
		}
		if k.Primary != want.primary || k.Waiting() != want.waiting || len(k.Replaced()) != want.replaced {
			t.Errorf("%q: primary %s, waiting %s, replaced %v; want %+v", text, k.Primary, k.Waiting(), k.Replaced(), want)
		}
	}
	if k := callbackd.ParseKeyset("x 0 4294967296 -1 7*"); k.String() != "7*" {
		t.Errorf("texts that are no keys are read as %s", k)
	}
}

func nodesWith(keysets ...string) (nodes []callbackd.NodeKeyset) {
	for _, k := range keysets {
		nodes = append(nodes, callbackd.NodeKeyset{Node: "n(" + k + ")", Keyset: callbackd.ParseKeyset(k)})
	}
	return nodes
}

func TestWhichKeyMayBecomePrimary(t *testing.T) {
	for _, v := range []struct {
		keys  string
		id    callbackd.SealingKey
		nodes []string
		want  string // in the error; empty: it may
	}{
		{"1* 2", 2, nil, ""},
		{"1* 2", 2, []string{"1* 2", "2* 1"}, ""},
		{"1 2*", 1, []string{"1 2*"}, ""}, // back again
		{"1* 2", 3, nil, "has no key 3"},
		{"1* 2", 1, nil, "primary one already"},
		{"1* 2", 2, []string{"1* 2", "1*"}, "node n(1*) does not have the key 2"},
		{"1* 2", 2, []string{""}, "does not have the key 2"}, // of an earlier version
	} {
		checkKeyError(t, v.keys, callbackd.ParseKeyset(v.keys).CheckPromote(v.id, nodesWith(v.nodes...)), v.want)
	}
}

func TestWhichKeyMayBeRemoved(t *testing.T) {
	used := map[callbackd.SealingKey]int64{2: 5, 4: 1}
	for _, v := range []struct {
		keys  string
		id    callbackd.SealingKey
		nodes []string
		want  string
	}{
		{"1 2*", 1, nil, ""},
		{"1 2*", 1, []string{"1 2*", "2*", ""}, ""},
		{"1 2* 3", 3, nil, ""},
		{"1 2*", 3, nil, "has no key 3"},
		{"1 2*", 2, nil, "is the primary one"},
		{"1 4 2*", 4, nil, "needed to open 1 of the secrets"},
		{"1 2*", 1, []string{"1 2*", "1* 2"}, "node n(1* 2) still seals with the key 1"},
	} {
		checkKeyError(t, v.keys, callbackd.ParseKeyset(v.keys).CheckPrune(v.id, used, nodesWith(v.nodes...)), v.want)
	}
}

func TestWhichKeysetMayReplaceTheOneInUse(t *testing.T) {
	for _, v := range []struct{ now, next, want string }{
		{"1*", "1* 2", ""},
		{"1 2*", "2*", ""},
		{"2*", "1 2*", ""},
		{"1*", "2*", "another keyset"},
		{"1*", "", "another keyset"},
	} {
		checkKeyError(t, v.now+" to "+v.next, callbackd.ParseKeyset(v.now).CheckReload(callbackd.ParseKeyset(v.next)), v.want)
	}
}

func checkKeyError(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: the error is %v, want one with %q", what, err, want)
	}
}

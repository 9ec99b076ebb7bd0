package apikey

import (
	"strings"
	"testing"
	"time"

	"callbackd"
)

func TestTextsOfAKey(t *testing.T) {
	long := strings.Repeat("x", callbackd.MaxName+1)
	for _, c := range []struct {
		account, name string
		ok            bool
	}{
		{"acme", "", true}, {"o'neil", "Zoë's key", true},
		{"", "", false}, {"a:b", "", false}, {"a@b", "", false}, {"a b", "", false}, {"a\tb", "", false}, {long, "", false}, {"a\x00", "", false}, {"a\xff", "", false},
		{"acme", long, false}, {"acme", "a\x00b", false}, {"acme", "\xff", false}, {"acme", "two\nlines", false},
		{"acme", "right \u202e left", false}, {"acme", "zero\u200bwidth", false}, {"ac\u2066me", "", false}, {"acme", "soft\u00adhyphen", false}, {"acme", "\ufeffmark", false},
		{"acme", "line\u2028separator", false}, {"acme", "tag\U000e0041", false}, {"acme", "ключ 鍵 🔑", true},
	} {
		k, err := New(c.account, c.name, true, time.Now())
		if (err == nil) != c.ok {
			t.Errorf("%q, %q: the error is %v; want it accepted: %v", c.account, c.name, err, c.ok)
		}
		if err == nil && (k.Account != c.account || k.Name != c.name) {
			t.Errorf("%q, %q: the key has account %q and name %q", c.account, c.name, k.Account, k.Name)
		}
		if err != nil && callbackd.KindOf(err) != callbackd.KindInvalid {
			t.Errorf("%q, %q: the error is %v; want KindInvalid", c.account, c.name, err)
		}
	}
}

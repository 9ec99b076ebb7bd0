package callbackd

import (
	"testing"
	"time"
)

// Every secret in force signs every request, so there are few of them.
func TestSigningSecretsInForceAreLimited(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	c := Callback{Secrets: []SigningSecret{{Value: "first"}}}
	for range MaxSigningSecrets - 1 {
		if err := c.RotateSecret("next", at.Add(time.Hour), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.RotateSecret("one more", at.Add(time.Hour), at); KindOf(err) != KindLimited || c.Secrets[0].Value == "one more" {
		t.Errorf("one more: %v", err)
	}
	later := at.Add(time.Hour)
	if err := c.RotateSecret("after they ended", later.Add(time.Hour), later); err != nil || len(c.Secrets) != 2 {
		t.Errorf("when the others have ended: %v, %d secrets", err, len(c.Secrets))
	}
	if err := c.RotateSecret("at once", later, later); err != nil || len(c.Secrets) != 1 {
		t.Errorf("without keep: %v, %d secrets", err, len(c.Secrets))
	}
}

package signature_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd/internal/signature"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"
)

const (
	specSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	specID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	specBody   = `{"test": 2432232314}`
	specSig    = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	specTime   = 1614265330
)

func TestSignKnownAnswer(t *testing.T) {
	key, err := signature.ParseSecret(specSecret)
	if err != nil {
		t.Fatal(err)
	}
	if got := signature.Sign(specID, specTime, []byte(specBody), signature.NewKey(key)); got != specSig {
		t.Errorf("got %s", got)
	}
	if got := signature.Sign(specID, specTime, []byte(specBody), signature.NewKey(key), signature.NewKey(key)); got != specSig+" "+specSig {
		t.Errorf("two keys give %s", got)
	}
}

func header(id, at, sig string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", at)
	h.Set("webhook-signature", sig)
	return h
}

func TestVerify(t *testing.T) {
	key, _ := signature.ParseSecret(specSecret)
	now := time.Unix(specTime, 0)
	ok := header(specID, "1614265330", specSig)
	if err := signature.Verify(key, ok, []byte(specBody), now); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []string{"v1,bad " + specSig, "v1a,xx " + specSig, specSig + " v2,zz"} {
		if err := signature.Verify(key, header(specID, "1614265330", sig), []byte(specBody), now); err != nil {
			t.Errorf("%s: %v", sig, err)
		}
	}
	b64 := strings.TrimPrefix(specSig, "v1,")
	bad := []string{"", "v1", "v2," + b64, "v1a," + b64, b64, "V1," + b64, specSig + "=", specSig[:len(specSig)-2] + "F="}
	for n := range len(b64) {
		bad = append(bad, "v1,"+b64[:n])
	}
	for _, sig := range bad {
		if signature.Verify(key, header(specID, "1614265330", sig), []byte(specBody), now) == nil {
			t.Errorf("signature %q passes", sig)
		}
	}
	for name, h := range map[string]http.Header{
		"other id": header("x", "1614265330", specSig), "other time": header(specID, "1614265331", specSig), "no number": header(specID, "soon", specSig),
	} {
		if signature.Verify(key, h, []byte(specBody), now) == nil {
			t.Errorf("%s passes", name)
		}
	}
	if signature.Verify(key, ok, []byte(specBody+" "), now) == nil {
		t.Error("another body passes")
	}
	for _, off := range []time.Duration{signature.Tolerance + time.Second, -signature.Tolerance - time.Second} {
		if signature.Verify(key, ok, []byte(specBody), now.Add(off)) == nil {
			t.Errorf("a timestamp %v off passes", off)
		}
	}
}

// The timestamp is signed. Otherwise a request could be sent again for ever.
func TestTheTimestampIsSigned(t *testing.T) {
	key, _ := signature.ParseSecret(specSecret)
	if signature.Sign(specID, 1, []byte(specBody), signature.NewKey(key)) == signature.Sign(specID, 2, []byte(specBody), signature.NewKey(key)) {
		t.Error("the same signature for two times")
	}
}

func TestSecrets(t *testing.T) {
	a, b := signature.NewSecret(), signature.NewSecret()
	if a == b {
		t.Error("two secrets are equal")
	}
	if key, err := signature.ParseSecret(a); err != nil || len(key) != 32 {
		t.Errorf("%d bytes, %v", len(key), err)
	}
	for _, s := range []string{"", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", strings.TrimPrefix(a, "whsec_"), "whsec_" + strings.Repeat("A", 88)} {
		if _, err := signature.ParseSecret(s); err == nil {
			t.Errorf("%q is taken for a secret", s)
		}
	}
}

func TestSignAgreesWithTheStandardLibraryOfStandardWebhooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := signature.NewSecret()
		key, _ := signature.ParseSecret(secret)
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		now := time.Now()
		sig := signature.Sign("evt_1", now.Unix(), body, signature.NewKey(key))
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		want, err := wh.Sign("evt_1", now, body)
		if err != nil || want != sig {
			t.Fatalf("ours %s, theirs %s, %v", sig, want, err)
		}
	})
}

const (
	account = "acme"
	apiKey  = "09bc91b9-76e5-4256-8e4f-7a41c1408014"
	secret  = "s3cr3t"
)

var vectors = map[string]string{
	"2021-05-30T12:49:19Z":          "d97486360ec58501660e238e644f367309be080ed32e65abef8ad3dc07d2cae0",
	"1622378959":                    "a822d6f15fc8d9a508a4b1424097942a641013608c40f604ad9738296606b1e7",
	"Sun, 30 May 2021 12:49:19 GMT": "5b6643b80b46d837b7cbda2f7289f893a341b8a225d368d1a99c52b5eaf5c5dc",
}

var vectorTime = time.Date(2021, 5, 30, 12, 49, 19, 0, time.UTC)

func TestTokenVectors(t *testing.T) {
	for stamp, want := range vectors {
		if got := signature.Token(account, apiKey, stamp, secret); got != want {
			t.Errorf("%s: %s, want %s", stamp, got, want)
		}
		for _, tok := range []string{want, strings.ToUpper(want)} {
			if err := new(signature.TokenChecker).Check(account, apiKey, secret, stamp, tok, vectorTime); err != nil {
				t.Errorf("%s: %v", stamp, err)
			}
		}
	}
}

func TestCheckTokenFaults(t *testing.T) {
	const stamp = "1622378959"
	good := vectors[stamp]
	check := func(account, key, secret, stamp, tok string, now time.Time) error {
		return new(signature.TokenChecker).Check(account, key, secret, stamp, tok, now)
	}
	for name, err := range map[string]error{
		"other account": check("acmf", apiKey, secret, stamp, good, vectorTime),
		"other key":     check(account, "x", secret, stamp, good, vectorTime),
		"other secret":  check(account, apiKey, "x", stamp, good, vectorTime),
		"other stamp":   check(account, apiKey, secret, "1622378960", good, vectorTime),
		"no token":      check(account, apiKey, secret, stamp, "", vectorTime),
		"short":         check(account, apiKey, secret, stamp, good[:62], vectorTime),
		"long":          check(account, apiKey, secret, stamp, good+"00", vectorTime),
		"not hex":       check(account, apiKey, secret, stamp, strings.Repeat("z", 64), vectorTime),
		"no secret":     check("", apiKey, "", stamp, signature.Token("", apiKey, stamp, ""), vectorTime),
	} {
		if !errors.Is(err, signature.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := check(account, apiKey, secret, stamp, signature.Token("", "", "", ""), vectorTime); !errors.Is(err, signature.ErrToken) {
		t.Error(err)
	}
	var te *signature.TimestampError
	for _, off := range []time.Duration{signature.Window + time.Second, -signature.Window - time.Second} {
		if err := check(account, apiKey, secret, stamp, good, vectorTime.Add(off)); !errors.As(err, &te) || te.Bad {
			t.Errorf("%v off: %v", off, err)
		}
	}
	if err := check(account, apiKey, secret, "soon", signature.Token(account, apiKey, "soon", secret), vectorTime); !errors.As(err, &te) || !te.Bad {
		t.Errorf("unreadable: %v", err)
	}
}

func TestCheckTokenHelpsWithTheKnownMistake(t *testing.T) {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("1622378959"))
	tok := hex.EncodeToString(mac.Sum(nil))
	err := new(signature.TokenChecker).Check(account, apiKey, secret, "1622378959", tok, vectorTime)
	if !errors.Is(err, signature.ErrTimestampAlone) {
		t.Errorf("got %v", err)
	}
}

func FuzzTokenChecker(f *testing.F) {
	for s, tok := range vectors {
		f.Add(s, tok)
	}
	f.Add("", "")
	f.Fuzz(func(t *testing.T, stamp, tok string) {
		if new(signature.TokenChecker).Check(account, apiKey, secret, stamp, tok, vectorTime) == nil &&
			!strings.EqualFold(tok, signature.Token(account, apiKey, stamp, secret)) {
			t.Errorf("%q passes for %q", tok, stamp)
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add(specID, "1614265330", specSig, []byte(specBody))
	f.Add("", "", "v1,", []byte{})
	key, _ := signature.ParseSecret(specSecret)
	f.Fuzz(func(t *testing.T, id, stamp, sig string, body []byte) {
		if signature.Verify(key, header(id, stamp, sig), body, time.Unix(specTime, 0)) != nil {
			return
		}
		secs, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if stamp != strconv.FormatInt(secs, 10) {
			return // signed as it is spelled
		}
		want := strings.TrimPrefix(signature.Sign(id, secs, body, signature.NewKey(key)), "v1,")
		if !strings.Contains(sig, want) {
			t.Errorf("%q passes", sig)
		}
	})
}

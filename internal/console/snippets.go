package console

import "strings"

// snippet is ready code that verifies a request in one language.
type snippet struct{ ID, Name, Text string }

// snippets fills in the secret. The secret is base64 and the URL was parsed
// when it was stored; the URL is quoted for a shell all the same.
func snippets(secret, url string) []snippet {
	fill := strings.NewReplacer("<<secret>>", secret, "<<url>>", "'"+strings.ReplaceAll(url, "'", `'\''`)+"'")
	out := make([]snippet, 0, len(snippetTexts))
	for _, s := range snippetTexts {
		out = append(out, snippet{s.ID, s.Name, strings.TrimPrefix(fill.Replace(s.Text), "\n")})
	}
	return out
}

var snippetTexts = []snippet{
	{"curl", "curl: send your receiver a signed sample", `
secret='<<secret>>'
id=evt_sample now=$(date +%s)
body='{"event":"SESSION:STATUS_CHANGE","session_key":"TST-0000000000","status":"STARTED"}'
key=$(printf %s "${secret#whsec_}" | base64 -d | od -An -tx1 | tr -d ' \n')
signature=$(printf %s "$id.$now.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
curl -i <<url>> \
  -H 'content-type: application/json' \
  -H "webhook-id: $id" \
  -H "webhook-timestamp: $now" \
  -H "webhook-signature: v1,$signature" \
  --data-binary "$body"
`},
	{"go", "Go", `
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const secret = "<<secret>>"

// verify reports whether callbackd sent the request, unchanged and within five minutes.
func verify(h http.Header, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	sent, err2 := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || err2 != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "."))
	mac.Write(body)
	want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for _, got := range strings.Fields(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(got), want) {
			return true
		}
	}
	return false
}

func main() {
	http.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || !verify(r.Header, body) {
			http.Error(w, "not signed", http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:9000", nil))
}
`},
	{"node", "Node", `
import { createHmac, timingSafeEqual } from "node:crypto";

const secret = "<<secret>>";

// headers have lower-case names; body is the raw Buffer, before JSON.parse.
export function verify(headers, body) {
  const id = headers["webhook-id"], sent = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(sent)) <= 300)) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const want = Buffer.from("v1," + createHmac("sha256", key).update(id + "." + sent + ".").update(body).digest("base64"));
  return String(headers["webhook-signature"]).split(" ").some((s) => {
    const got = Buffer.from(s);
    return got.length === want.length && timingSafeEqual(got, want);
  });
}
`},
	{"python", "Python", `
import base64, hashlib, hmac, time

SECRET = "<<secret>>"

def verify(headers, body: bytes) -> bool:
    """headers: a mapping that ignores case; body: the raw bytes."""
    msg_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdecimal() or len(sent) > 12 or abs(time.time() - int(sent)) > 300:
        return False
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mac = hmac.new(key, f"{msg_id}.{sent}.".encode() + body, hashlib.sha256)
    want = "v1," + base64.b64encode(mac.digest()).decode()
    return any(hmac.compare_digest(want.encode(), got.encode()) for got in headers.get("webhook-signature", "").split())
`},
	{"php", "PHP", `
<?php
const SECRET = '<<secret>>';

// $body is file_get_contents('php://input').
function verify(string $body): bool
{
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $sent = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if (!ctype_digit($sent) || abs(time() - (int) $sent) > 300) {
        return false;
    }
    $key = base64_decode(substr(SECRET, strlen('whsec_')));
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$sent.$body", $key, true));
    foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $got) {
        if (hash_equals($want, $got)) {
            return true;
        }
    }
    return false;
}
`},
	{"ruby", "Ruby", `
require "openssl"

SECRET = "<<secret>>"

# headers: what [] returns nil or a text for, by a name in lower case; body: the raw body.
def verify(headers, body)
  id, sent, signatures = %w[webhook-id webhook-timestamp webhook-signature].map { |name| headers[name].to_s.b }
  return false unless sent.match?(/\A\d{1,12}\z/) && (Time.now.to_i - sent.to_i).abs <= 300
  key = SECRET.delete_prefix("whsec_").unpack1("m0")
  want = "v1," + [OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{sent}.".b + body.b)].pack("m0")
  signatures.split(" ").any? { |got| OpenSSL.secure_compare(got, want) }
end
`},
	{"csharp", "C#", `
using System;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

static class Webhook
{
    const string Secret = "<<secret>>";

    // body is the raw request body.
    public static bool Verify(string id, string sent, string signatures, byte[] body)
    {
        if (!long.TryParse(sent, out var at) || at < 0 || Math.Abs(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - at) > 300)
            return false;
        var signed = Encoding.UTF8.GetBytes($"{id}.{sent}.").Concat(body).ToArray();
        using (var mac = new HMACSHA256(Convert.FromBase64String(Secret.Substring("whsec_".Length))))
        {
            var want = Encoding.ASCII.GetBytes("v1," + Convert.ToBase64String(mac.ComputeHash(signed)));
            return signatures.Split(' ').Any(s => CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(s), want));
        }
    }
}
`},
}

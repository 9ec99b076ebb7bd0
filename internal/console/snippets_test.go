package console_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/signature"

	"github.com/google/go-cmp/cmp"
)

// shownSnippets is the code that a page of a signing secret shows, by the
// id of its language, as a browser would copy it; and the secret.
func shownSnippets(t *testing.T, receiver string) (byID map[string]string, secret string) {
	t.Helper()
	s := startSite(t)
	ids := s.fill(s.Key, receiver)
	page := s.visitor(t).signIn(s.Key).get("/console/callbacks/" + ids["callback"] + "/secret")
	byID = map[string]string{}
	for n := range elements(parse(t, page), "pre") {
		if attr(n, "id") == "secret" {
			secret = text(n)
		}
		if id, ok := strings.CutPrefix(attr(n.Parent.Parent, "id"), "snippet-"); ok {
			byID[id] = text(n)
		}
	}
	return byID, secret
}

// runtimes is how the code of each language is run: in which file it is, what
// calls it for each line of the file cases, and the commands. Every file is
// in the directory of the run.
var runtimes = map[string]struct {
	file, caller, call string
	run                [][]string
}{
	"go": {"main.go", "main_test.go", `package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

func Test(t *testing.T) {
	cases, _ := os.ReadFile("cases")
	for line := range strings.Lines(string(cases)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		body, _ := base64.StdEncoding.DecodeString(f[3])
		h := http.Header{}
		for i, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			h.Set(name, f[i])
		}
		fmt.Println(verify(h, body))
	}
}
`, [][]string{{"go", "mod", "init", "hook"}, {"go", "test", "-v"}}},
	"node": {"webhook.mjs", "main.mjs", `import { readFileSync } from "node:fs";
import { verify } from "./webhook.mjs";
for (const line of readFileSync("cases", "utf8").split("\n").slice(0, -1)) {
  const [id, sent, signature, body] = line.split("\t");
  console.log(verify({ "webhook-id": id, "webhook-timestamp": sent, "webhook-signature": signature }, Buffer.from(body, "base64")));
}
`, [][]string{{"node", "main.mjs"}}},
	"python": {"webhook.py", "main.py", `import base64
from webhook import verify
for line in open("cases", encoding="utf-8"):
    id, sent, signature, body = line.rstrip("\n").split("\t")
    print(verify({"webhook-id": id, "webhook-timestamp": sent, "webhook-signature": signature}, base64.b64decode(body)))
`, [][]string{{"python3", "main.py"}}},
	"php": {"webhook.php", "main.php", `<?php
require 'webhook.php';
foreach (file('cases', FILE_IGNORE_NEW_LINES) as $line) {
    [$_SERVER['HTTP_WEBHOOK_ID'], $_SERVER['HTTP_WEBHOOK_TIMESTAMP'], $_SERVER['HTTP_WEBHOOK_SIGNATURE'], $body] = explode("\t", $line);
    echo var_export(verify(base64_decode($body)), true), "\n";
}
`, [][]string{{"php", "main.php"}}},
	"ruby": {"webhook.rb", "main.rb", `require_relative "webhook"
File.foreach("cases", chomp: true) do |line|
  id, sent, signatures, body = line.split("\t", -1)
  puts verify({ "webhook-id" => id, "webhook-timestamp" => sent, "webhook-signature" => signatures }, body.unpack1("m0"))
end
`, [][]string{{"ruby", "main.rb"}}},
	"csharp": {"Webhook.cs", "Main.cs", `using System;
static class Calls
{
    static void Main()
    {
        foreach (var line in System.IO.File.ReadLines("cases"))
        {
            var f = line.Split('\t');
            Console.WriteLine(Webhook.Verify(f[0], f[1], f[2], Convert.FromBase64String(f[3])));
        }
    }
}
`, [][]string{{"mcs", "-out:main.exe", "Webhook.cs", "Main.cs"}, {"mono", "main.exe"}}},
}

// signedCase is a request that a snippet accepts or refuses.
type signedCase struct {
	accepted                   bool
	id, sent, signatures, body string
}

// line is the case as a line of the file cases.
func (c signedCase) line() string {
	return strings.Join([]string{c.id, c.sent, c.signatures, base64.StdEncoding.EncodeToString([]byte(c.body))}, "\t") + "\n"
}

// signedCases are requests as callbackd signs them, requests that were changed on the
// way, old ones, and ones without a valid signature.
func signedCases(key []byte) []signedCase {
	body, at := "{\"a\":\"é\\u0000\",\"b\":1.0}\xff", time.Now().Unix()
	sign := func(at int64) string { return signature.Sign("evt_x", at, []byte(body), signature.NewKey(key)) }
	now := strconv.FormatInt(at, 10)
	seconds := func(later int64) string { return strconv.FormatInt(at+later, 10) }
	cases := []signedCase{
		{true, "evt_x", now, sign(at), body},
		{true, "evt_x", now, "v1,AAAA " + sign(at), body}, // the secret is being rotated
		{true, "evt_x", seconds(-200), sign(at - 200), body},
		{false, "evt_x", now, sign(at), strings.Replace(body, "1.0", "1.1", 1)},
		{false, "evt_y", now, sign(at), body},
		{false, "evt_x", seconds(-1), sign(at), body},
		{false, "evt_x", seconds(-400), sign(at - 400), body},
		{false, "evt_x", seconds(400), sign(at + 400), body},
	}
	for _, signatures := range []string{"", "v1,", "v1,AAAA", "v2" + sign(at)[2:], sign(at)[:20], "é " + sign(at)[3:]} {
		cases = append(cases, signedCase{false, "evt_x", now, signatures, body})
	}
	for _, sent := range []string{"", "x", "-1", "²", "-9223372036854775808", strings.Repeat("9", 5000)} {
		cases = append(cases, signedCase{false, "evt_x", sent, sign(at), body})
	}
	return cases
}

// Each snippet is run by its language as the page shows it.
func TestSnippetsAcceptWhatCallbackdSigns(t *testing.T) {
	shown, secret := shownSnippets(t, "http://127.0.0.1:1/")
	if got, want := len(shown), len(runtimes)+1; got != want { // and curl
		t.Errorf("the page shows %d snippets, want %d", got, want)
	}
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	cases := signedCases(key)
	for id, lang := range runtimes {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			var lines strings.Builder
			var want []bool
			for _, c := range cases {
				lines.WriteString(c.line())
				want = append(want, c.accepted)
			}
			out := runInDirectory(t, lang.run, map[string]string{lang.file: shown[id], lang.caller: lang.call, "cases": lines.String()})
			var got []bool
			for line := range strings.Lines(out) {
				if b, err := strconv.ParseBool(strings.TrimSpace(line)); err == nil {
					got = append(got, b)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what it accepts (-want +got):\n%s\n%s", diff, out)
			}
		})
	}
}

// runInDirectory runs commands in a directory with these files, and returns the output
// of the last one.
func runInDirectory(t *testing.T, commands [][]string, files map[string]string) (out string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range commands {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		raw, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, raw)
		}
		out = string(raw)
	}
	return out
}

// What the shell snippet sends is signed as callbackd signs.
func TestTheShellSnippetSigns(t *testing.T) {
	address, requests := recorder(t)
	shown, secret := shownSnippets(t, address+"/it's?a=1")
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	run(t, shown["curl"])
	r := <-requests
	for r.Header.Get("webhook-id") != "evt_sample" { // the event of the callback
		r = <-requests
	}
	if err := signature.Verify(key, r.Header, []byte(r.Body), time.Now()); err != nil {
		t.Errorf("the signature is not valid: %v", err)
	}
	if err := signature.Verify(key, r.Header, []byte(r.Body+" "), time.Now()); err == nil {
		t.Error("the signature is valid for another body too")
	}
	if want := string(callbackd.StatusChange); !strings.Contains(r.Body, want) {
		t.Errorf("the body lacks %q: %s", want, r.Body)
	}
}

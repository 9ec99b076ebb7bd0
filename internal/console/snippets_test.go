package console_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/signature"

	"golang.org/x/net/html"
)

// shownSnippets is the code that a page of a signing secret shows, by the
// id of its language, as a browser would copy it; and the secret.
func shownSnippets(t *testing.T, receiver string) (byID map[string]string, secret string) {
	t.Helper()
	s := startSite(t)
	ids := s.fill(s.Key, receiver)
	doc, err := html.Parse(strings.NewReader(s.visitor(t).signIn(s.Key).get("/console/callbacks/" + ids["callback"] + "/secret").body))
	if err != nil {
		t.Fatal(err)
	}
	byID = map[string]string{}
	for n := range doc.Descendants() {
		if n.Data != "pre" {
			continue
		}
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

// Each snippet is run as the page shows it, by the language itself: it
// accepts what callbackd signs, and refuses what was changed on the way, is
// old, or is no signature at all.
func TestSnippetsWork(t *testing.T) {
	shown, secret := shownSnippets(t, "http://127.0.0.1:1/")
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var want []bool
	add := func(accepted bool, id, sent, signatures, body string) {
		lines, want = append(lines, strings.Join([]string{id, sent, signatures, base64.StdEncoding.EncodeToString([]byte(body))}, "\t")+"\n"), append(want, accepted)
	}
	body, at := "{\"a\":\"é\\u0000\",\"b\":1.0}\xff", time.Now().Unix()
	now, sign := strconv.FormatInt(at, 10), func(at int64) string { return signature.Sign("evt_x", at, []byte(body), key) }
	add(true, "evt_x", now, sign(at), body)
	add(true, "evt_x", now, "v1,AAAA "+sign(at), body) // the secret is being rotated
	add(true, "evt_x", strconv.FormatInt(at-200, 10), sign(at-200), body)
	add(false, "evt_x", now, sign(at), strings.Replace(body, "1.0", "1.1", 1))
	add(false, "evt_y", now, sign(at), body)
	add(false, "evt_x", strconv.FormatInt(at-1, 10), sign(at), body)
	add(false, "evt_x", strconv.FormatInt(at-400, 10), sign(at-400), body)
	add(false, "evt_x", strconv.FormatInt(at+400, 10), sign(at+400), body)
	for _, hostile := range []string{"", "v1,", "v1,AAAA", "v2" + sign(at)[2:], sign(at)[:20], "é " + sign(at)[3:]} {
		add(false, "evt_x", now, hostile, body)
	}
	for _, hostile := range []string{"", "x", "-1", "²", "-9223372036854775808", strings.Repeat("9", 5000)} {
		add(false, "evt_x", hostile, sign(at), body)
	}
	for id, lang := range runtimes {
		t.Run(id, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range map[string]string{lang.file: shown[id], lang.caller: lang.call, "cases": strings.Join(lines, "")} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var out []byte
			for _, args := range lang.run {
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Dir = dir
				if out, err = cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %v: %s", args, err, out)
				}
			}
			var got []bool
			for line := range strings.Lines(string(out)) {
				if b, err := strconv.ParseBool(strings.TrimSpace(line)); err == nil {
					got = append(got, b)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v\n%s", got, want, out)
			}
		})
	}
	if len(shown) != len(runtimes)+1 {
		t.Errorf("the page shows %d snippets", len(shown))
	}
}

// What the shell snippet sends is signed as callbackd signs.
func TestTheShellSnippetSigns(t *testing.T) {
	type request struct {
		header http.Header
		body   []byte
	}
	got := make(chan request, 10)
	recv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("webhook-id") == "evt_sample" {
			got <- request{r.Header, body}
		}
	}))
	defer recv.Close()
	shown, secret := shownSnippets(t, recv.URL+"/it's?a=1")
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bash", "-c", shown["curl"]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := <-got
	if err := signature.Verify(key, r.header, r.body, time.Now()); err != nil {
		t.Error(err)
	}
	if err := signature.Verify(key, r.header, append(r.body, ' '), time.Now()); err == nil {
		t.Error("it verifies whatever the body is")
	}
	if !strings.Contains(string(r.body), string(callbackd.StatusChange)) {
		t.Errorf("%s", r.body)
	}
}

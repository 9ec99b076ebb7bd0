package egress_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"callbackd/internal/egress"
)

// loopbackSpellings are ways to write this machine's address, or to hide it,
// that some parser or resolver somewhere understands.
// {U+…} stands for a character that has no width.
var loopbackSpellings = strings.Fields(strings.NewReplacer("{U+00AD}", "\u00ad", "{U+200B}", "\u200b").Replace(`
127.0.0.1 127.0.0.2 127.255.255.254 127.1 127.0.1 0 0.0.0.0 0.0 2130706433 017700000001 0x7f000001 0x7F.0.0.1 0x7f.1 0177.0.0.1 0177.0.0.01 00177.1 127.0.0.1. 127.0.0.1.. 127.000.000.001
127.0.0.1%00 127.0.0.1%20 127.0.0.1%2e 127%2e0%2e0%2e1 %31%32%37.0.0.1 127。0。0。1 127．0．0．1 127｡0｡0｡1 １２７.０.０.１ ①②⑦.⓪.⓪.① 𝟏𝟐𝟕.𝟎.𝟎.𝟏 ₁₂₇.₀.₀.₁ ¹²⁷.⁰.⁰.¹ 127.0.0.1{U+200B} 127.0.0{U+00AD}.1
[::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:0001] [::127.0.0.1] [::7f00:1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2001:0:7f00:1::] [::ffff:0:127.0.0.1]
[::1%25lo] [::1%lo] [fe80::1%25lo] [::ffff:127.0.0.1%25lo] [::1]. [::1 ::1 ::1] [[::1]] [127.0.0.1] [localhost] [::ffff:0x7f.1] [0:0:0:0:0:ffff:127.0.0.1] [::%31] [v1.::1]
localhost LOCALHOST localhost. localhost.. LocalHost ⓛocalhost ｌｏｃａｌｈｏｓｔ localhoſt locaⅼhost loc%61lhost localhost%00 localhost%2e localhost%23 localhost.localdomain ip6-localhost ip6-loopback
0000.0000.0000.0000 256.0.0.1 127.0.0.1.1 4294967297 -1 127.0.0.-1 1e3 127.0.0.0x1 127.0.0.1e0 127,0.0.1 127.0.0.1:80:PORT 127.0.0.1;a 127.0.0.1|a 127.0.0.1^a 127.0.0.1<a 127.0.0.1'a 127.0.0.1!a 127.0.0.1$a 127.0.0.1*a 127.0.0.1(a) 127.0.0.1~a 127.0.0.1+a
xn--127-0 xn--localhost xn--a.localhost a_b.localhost -localhost localhost- _ . .. .127.0.0.1 .localhost a..localhost`))

// disguises put a host where one parser sees it and another does not. HOST is
// the spelling, PORT the trap's port.
var disguises = strings.Split(`http://HOST:PORT/
HTTP://HOST:PORT/
https://HOST:PORT/
http:HOST:PORT/
http:/HOST:PORT/
http:///HOST:PORT/
http:////HOST:PORT/
http:\\HOST:PORT\
http:/\HOST:PORT/
//HOST:PORT/
http://HOST:PORT\@example.com/
http://example.com\@HOST:PORT/
http://example.com@HOST:PORT/
http://example.com:80@HOST:PORT/
http://example.com%40HOST:PORT/
http://example.com%2f@HOST:PORT/
http://HOST:PORT@example.com/
http://@HOST:PORT/
http://:@HOST:PORT/
http://a:b:c@HOST:PORT/
http://example.com#@HOST:PORT/
http://HOST:PORT#@example.com/
http://example.com?@HOST:PORT/
http://example.com;@HOST:PORT/
http://HOST:PORT%2f.example.com/
http://HOST:PORT%00.example.com/
http://HOST:PORT .example.com/
http://HOST%3aPORT/
http://HOST:+PORT/
http://HOST:0PORT/
http://HOST:PORT:80/
http://HOST: PORT/
 http://HOST:PORT/
http://HOST:PORT
http://HOST:PORT?
http://HOST:PORT/%0d%0aHost:%20x
http://HOST:PORT/..//x
ftp://HOST:PORT/
file://HOST:PORT/etc/passwd
gopher://HOST:PORT/_GET
dict://HOST:PORT/x
ws://HOST:PORT/
unix://HOST:PORT/
jar:http://HOST:PORT!/
url:http://HOST:PORT/
view-source:http://HOST:PORT/
http+unix://HOST:PORT/
javascript://HOST:PORT/%0aalert(1)
data://HOST:PORT/`, "\n")

// variants is every spelling in the plain form, and every disguise with
// spellings that reach this machine at once.
func variants(port string) (all []string) {
	fill := strings.NewReplacer("PORT", port, "ZERO", "\u200b", "SOFT", "\u00ad")
	for _, host := range loopbackSpellings {
		all = append(all, fill.Replace("http://"+host+":PORT/"), fill.Replace("https://"+host+":PORT/x"), fill.Replace("http://"+host+"/"))
	}
	for _, d := range disguises {
		for _, host := range []string{"127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]"} {
			all = append(all, strings.NewReplacer("HOST", host, "PORT", port).Replace(d))
		}
	}
	return all
}

// hereResolver answers every name with this machine.
type hereResolver struct{}

func (hereResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// Of all the ways to write a URL, none reaches this machine, and
// what is dialled is what was checked.
func TestNoSpellingOfAURLReachesTheTrap(t *testing.T) {
	srv, hits := trap(t)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	// Every name is this machine, so that one that slips through shows.
	r := hereResolver{}
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy(nil), Resolver: r})
	all := variants(port)
	read := 0
	for _, s := range all {
		u, err := egress.ParseURL(s)
		if err != nil {
			continue
		}
		read++
		again, err := url.Parse(u.String())
		if err != nil || again.Host != u.Host {
			t.Errorf("%q reads as %s, which reads as %v, %v", s, u, again, err)
		}
		if _, err := get(t, tr, u.String()); err == nil {
			t.Errorf("%q reads as %s and is answered", s, u)
		} else {
			wantRefused(t, err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
	if len(all) < 400 || read < 20 {
		t.Errorf("%d variants, %d of them URLs: too few to say anything", len(all), read)
	}
	// The trap works: what the operator allows reaches it.
	open := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}), Resolver: r})
	resp, err := get(t, open, "http://127.0.0.1:"+port+"/")
	if err != nil {
		t.Fatalf("the trap cannot be reached: %v", err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the trap answers %s, want 200", resp.Status)
	}
	if n := hits.Load(); n != 1 {
		t.Errorf("%d connections reached the trap, want 1", n)
	}
}

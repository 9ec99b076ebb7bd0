package callbackd_test

import (
	"testing"

	"callbackd"
)

func TestRolesOfTheConsoleIncludeThoseBefore(t *testing.T) {
	for i, role := range callbackd.ConsoleRoles {
		for j, least := range callbackd.ConsoleRoles {
			if got := role.Includes(least); got != (i >= j) {
				t.Errorf("%s includes %s: %t", role, least, got)
			}
		}
		for _, none := range []callbackd.ConsoleRole{"", "root", "Operator"} {
			if none.Includes(role) {
				t.Errorf("%q includes %s", none, role)
			}
		}
	}
	for _, role := range callbackd.LinkRoles {
		if role.Includes(callbackd.ConsoleHolder) {
			t.Errorf("a link can have the role %s", role)
		}
	}
}

func TestWhereALinkMayLeadBack(t *testing.T) {
	allowed := []string{"https://app.example.com", "http://127.0.0.1:3000"}
	for text, want := range map[string]bool{
		"": true, "https://app.example.com": true, "https://app.example.com/a?b=c#d": true, "HTTPS://APP.example.com:443/": true, "http://127.0.0.1:3000/x": true,
		"https://evil.example/": false, "https://app.example.com.evil.example/": false, "https://app.example.com@evil.example/": false, "https://evil.example/https://app.example.com": false,
		"http://app.example.com/": false, "http://127.0.0.1:3001/": false, "javascript:alert(1)": false, "//app.example.com/": false, "/settings": false, "https:/app.example.com": false,
		"https://app.example.com\\@evil.example/": false, "https://app.example.com/ x": false, "https://app.example.com/\u202e": false, "https://app.example.com\n/": false, "data:text/html,x": false,
	} {
		if err := callbackd.CheckReturnTo(text, allowed); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOriginsOfPages(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example.com": "https://app.example.com", "https://App.Example.com:443/": "https://app.example.com", "http://localhost:3000": "http://localhost:3000", "http://[::1]:80": "http://[::1]",
		"http://app.example.com": "", "https://app.example.com/x": "", "https://*.example.com": "", "*": "", "'none'": "", "https://a.example; script-src *": "", "https://a.example https://b.example": "", "": "", "https://u:p@a.example": "",
	} {
		if got, ok := callbackd.PageOrigin(text); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %t; want %q", text, got, ok, want)
		}
	}
}

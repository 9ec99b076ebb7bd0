package zoo

import (
	"cmp"
	"html/template"
	"strings"
)

// page is the index page.
var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Zoo of hostile receivers</title>
<style>body{font:16px/1.5 sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}td,th{border:1px solid #999;padding:.3rem .6rem;text-align:left;vertical-align:top}</style>
<h1>Zoo of hostile receivers</h1>
<p>Let your sender of webhooks send to each address. The table says what a good sender does. callbackd's own sender ends each attempt as the last column says.</p>
<p>For the exhibits with TLS, have your sender trust <a href="/ca.pem">the zoo's authority</a>. It delivers to tls-good then, and to no other name that begins with tls.</p>
<table>
<tr><th>address<th>the receiver<th>a good sender<th>callbackd
{{range .}}<tr><td><code>{{.URL}}</code><td>{{.Does}}<td>{{.Good}}<td>{{.Ends}}
{{end}}</table>
</html>
`))

// Ends says how callbackd ends an attempt at the exhibit.
func (x *Exhibit) Ends() string { return cmp.Or(string(x.Fault), "delivered") }

// index returns the index page.
func (z *Zoo) index() string {
	var b strings.Builder
	list := make([]*Shown, len(z.shown))
	for i := range z.shown {
		list[i] = &z.shown[i]
	}
	if err := page.Execute(&b, list); err != nil {
		return err.Error()
	}
	return b.String()
}

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"callbackd/internal/app"

	"github.com/alecthomas/kong"
)

type manCmd struct{}

// Run prints the manual page.
func (*manCmd) Run(e *env, k *kong.Context) error {
	_, err := io.WriteString(e.stdout, manual(k.Model))
	return err
}

// page is a manual page in the language of roff, with the macros of man(7).
type page struct{ strings.Builder }

// roff writes a text so that roff prints it as it is, in one line.
func roff(text string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(text), " ") {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '"':
			b.WriteString(`\(dq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r > 126:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	out := b.String()
	if strings.HasPrefix(out, ".") { // it would be a macro
		out = `\&` + out
	}
	return out
}

// section begins a section.
func (p *page) section(title string) { fmt.Fprintf(p, ".SH %s\n", roff(title)) }

// text writes a paragraph.
func (p *page) text(text string) { fmt.Fprintf(p, ".PP\n%s\n", roff(text)) }

// item writes a term and what it means.
func (p *page) item(term, meaning string) {
	fmt.Fprintf(p, ".TP\n\\fB%s\\fR\n%s\n", roff(term), roff(meaning))
}

// command writes a command with its arguments and its own options.
func (p *page) command(n *kong.Node) {
	fmt.Fprintf(p, ".SS %s\n%s\n", roff(n.Summary()), roff(n.Help))
	if n.Detail != "" {
		p.text(n.Detail)
	}
	for _, a := range n.Positional {
		p.item(a.Summary(), kong.DefaultHelpValueFormatter(a))
	}
	for _, f := range n.Flags {
		if !f.Hidden && f.Name != "help" {
			p.item(f.String(), kong.DefaultHelpValueFormatter(f.Value))
		}
	}
}

// manual returns the manual page of all commands.
func manual(model *kong.Application) string {
	p := &page{}
	fmt.Fprintf(p, ".TH CALLBACKD 1 \"\" %q \"User Commands\"\n.nh\n.ad l\n", "callbackd "+roff(app.Version))
	p.section("NAME")
	fmt.Fprintf(p, "callbackd \\- %s\n", roff("a durable callback service"))
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "\\fBcallbackd\\fR \\fIcommand\\fR [\\fIoptions\\fR]\n")
	p.section("DESCRIPTION")
	p.text(model.Help)
	p.text("Every option has a variable, which is named in parentheses after its meaning; the option wins over the variable. The value of a secret may also stand in a file that a variable with _FILE at its end names.")
	p.section("COMMANDS")
	for _, leaf := range leaves(model.Node) {
		p.command(leaf)
	}
	p.section("EXIT STATUS")
	p.item("0", "The command did what it says.")
	p.item(fmt.Sprint(exitFailed), "It failed, and may work the next time.")
	p.item(fmt.Sprint(exitSetting), "An option, a variable or a profile is wrong.")
	p.section("FILES")
	p.item("~/.config/callbackd/profiles/NAME.json", "A profile, as callbackd login writes it. Only its user may read it.")
	p.item("/etc/callbackd/callbackd.env", "The variables of the service, when it was installed from a package.")
	p.section("SEE ALSO")
	p.text("A running server shows all documents at /docs.")
	return p.String()
}

// leaves returns the commands without subcommands, except hidden ones.
func leaves(n *kong.Node) []*kong.Node {
	if n.Hidden {
		return nil
	}
	if len(n.Children) == 0 {
		return []*kong.Node{n}
	}
	var out []*kong.Node
	for _, c := range n.Children {
		out = slices.Concat(out, leaves(c))
	}
	return out
}

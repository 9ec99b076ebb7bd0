package cli

import (
	"bytes"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The manual page has every command with its options and their variables.
func TestTheManualPageHasEveryCommandAndOption(t *testing.T) {
	model := model(t)
	text := manual(model)
	parts := strings.Split(text, "\n.SS ")
	commands := leaves(model.Node)
	if len(parts) != len(commands)+1 {
		t.Fatalf("the page has %d commands, want %d", len(parts)-1, len(commands))
	}
	for i, c := range commands {
		part := parts[i+1]
		if !strings.HasPrefix(part, roff(c.Summary())) {
			t.Errorf("%s: the page has %.40q", c.Path(), part)
		}
		for _, f := range c.Flags {
			if f.Name != "help" && !(strings.Contains(part, roff("--"+f.Name)) && strings.Contains(part, roff(f.Envs[0]))) {
				t.Errorf("%s: the page does not have --%s with %s", c.Path(), f.Name, f.Envs[0])
			}
		}
	}
}

// Each line is a macro that this page uses, or text: a text never becomes a macro.
func TestTheManualPageIsRoff(t *testing.T) {
	text := manual(model(t))
	macros := []string{".TH", ".nh", ".ad", ".SH", ".SS", ".PP", ".TP"}
	escape := regexp.MustCompile(`\\(e|-|&|\(aq|\(dq|\(ga|\(ha|\(ti|\[u[0-9A-F]{4,6}\]|f[BIR])`)
	for line := range strings.Lines(text) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if (line[0] == '.' || line[0] == '\'') && !slices.Contains(macros, word) {
			t.Errorf("no macro: %q", line)
		}
		if strings.Contains(escape.ReplaceAllString(line, ""), `\`) {
			t.Errorf("an unknown escape: %q", line)
		}
		for _, r := range line {
			if r > 126 {
				t.Errorf("%q is not ASCII: %q", r, line)
			}
		}
	}
	for in, want := range map[string]string{".SH x": `\&.SH x`, "'x": `\(aqx`, `a\b`: `a\eb`, "a-b": `a\-b`, "…": `\[u2026]`, "a\n.SH b": "a .SH b"} {
		if got := roff(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		return // the rest needs a program that not every machine has
	}
	cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Errorf("groff: %v: %s", err, &said)
	}
}

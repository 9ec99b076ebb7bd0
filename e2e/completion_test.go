package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"os/exec"
)

// In a real bash on a terminal, the Tab key completes commands, options, event types with their
// colon, and names of files.
func TestBashCompletes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "settings-of-acme.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tty := openTerminal(t)
	cmd := exec.Command("bash", "--norc", "--noprofile", "-i")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "HOME=" + dir, "TERM=dumb", "PS1=ready> ", "INPUTRC=/dev/null", "HISTFILE=", "COLUMNS=200", "XDG_CONFIG_HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	tty.run(t, cmd)
	tty.until(t, "ready> ")
	tty.press(t, "source <(callbackd completion bash)\n")
	tty.until(t, "ready> ")
	for _, c := range []struct{ typed, becomes string }{
		{"callbackd callba\t", "callbackd callbacks "},
		{"callbackd callbacks create SESSION:COM\t", "callbackd callbacks create SESSION:COMPLETE "},
		{"callbackd deliveries list --state=deliv\t", "--state=delivered "},
		{"callbackd deliveries list --state deliv\t", "--state delivered "},
		{"callbackd callbacks create --payl\t", "--payload "},
		{"callbackd apply --file settings-o\t", "settings-of-acme.yaml "},
		{filepath.Join(filepath.Dir(binary), "callbackd") + " sess\t", " sessions "},
	} {
		tty.press(t, c.typed)
		tty.until(t, c.becomes)
		tty.press(t, "\x15\n") // remove the line
		tty.until(t, "ready> ")
	}
	tty.press(t, "exit\n")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

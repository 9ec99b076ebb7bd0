package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestREADMETourWorksAsPrinted runs every block of the README's tour, in
// order, in one bash, as a newcomer would. Only the two ports are others.
func TestREADMETourWorksAsPrinted(t *testing.T) {
	raw, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, ok := strings.Cut(string(raw), "<!-- tour:start -->")
	tour, _, ok2 := strings.Cut(tour, "<!-- tour:end -->")
	if !ok || !ok2 {
		t.Fatal("README.md has no tour")
	}
	script := "set -euo pipefail\n"
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(tour, -1) {
		script += m[1] + "\n"
	}
	api, receiver := freePort(t), freePort(t)
	script = strings.NewReplacer("8080", api, "9000", receiver).Replace(script)
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CALLBACKD_LISTEN=127.0.0.1:"+api)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(2*time.Minute, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop.Stop()
	err = cmd.Wait()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	for _, want := range []string{`"data":[]`, `"sequence":1,"deliveries":1`, "ACM-0123456789", `"state": "delivered"`, `"status":"STARTED","events":[`, "COMPLETE                     5", "every delivery is in exactly one state"} {
		if !strings.Contains(out.String(), want) {
			err = fmt.Errorf("%q was not printed; %v", want, err)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

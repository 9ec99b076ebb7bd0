package cli

import "testing"

// Printed commands begin as this one was called, so that they can be copied.
func TestCommandsArePrintedAsThisOneWasCalled(t *testing.T) {
	const cached = "/home/ann/.cache/go-build/74/7421b2f932ab643592154132cc55a27fa07e54f257b92ca0d34682820d052f35-d/callbackd"
	for _, c := range []struct{ arg0, executable, cgo, want string }{
		{"/tmp/go-build1897520555/b001/exe/callbackd", "/tmp/go-build1897520555/b001/exe/callbackd", "", "go run ./cmd/callbackd"},
		{cached, cached, "1", "go run ./cmd/callbackd"},
		{cached, cached, "0", "CGO_ENABLED=0 go run ./cmd/callbackd"},
		{"./callbackd", "/home/ann/callbackd/callbackd", "0", "./callbackd"},
		{"/usr/local/bin/callbackd", "/usr/local/bin/callbackd", "", "/usr/local/bin/callbackd"},
		{"callbackd", "/usr/local/bin/callbackd", "", "callbackd"},
		{"my tools/callbackd", "/home/ann/my tools/callbackd", "", "'my tools/callbackd'"},
		{"bin/callbackd", "/home/ann/go-build1/bin/callbackd", "", "bin/callbackd"},
		{"./callbackd", "", "", "./callbackd"},
	} {
		if got := calledAs(c.arg0, c.executable, c.cgo); got != c.want {
			t.Errorf("%s at %s is printed as %s, want %s", c.arg0, c.executable, got, c.want)
		}
	}
}

package cli

import "testing"

// The check of a server reaches it on the same machine, whatever it listens on.
func TestHealthIsCheckedOnThisMachine(t *testing.T) {
	for listen, want := range map[string]string{
		":8080": "127.0.0.1:8080", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "[::1]:80", "127.0.0.1:8080": "127.0.0.1:8080",
		"192.0.2.7:8080": "192.0.2.7:8080", "[2001:db8::1]:8080": "[2001:db8::1]:8080", "node-1.internal:8080": "node-1.internal:8080", "localhost:http": "localhost:http",
	} {
		if got, err := here(listen); err != nil || got != want {
			t.Errorf("--listen %s is checked at %s, %v, want %s", listen, got, err, want)
		}
	}
	for _, listen := range []string{"8080", "", "::1:8080", "127.0.0.1"} {
		if got, err := here(listen); err == nil {
			t.Errorf("--listen %q is checked at %s, want an error", listen, got)
		}
	}
}

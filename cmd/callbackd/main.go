// Command callbackd is a durable callback service in one binary.
package main

import (
	"context"
	"os"

	"callbackd/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

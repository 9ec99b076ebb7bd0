package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// teardown closes what a server has started, in the reverse order. Each part
// is added as soon as it exists, so that a start that fails halfway closes
// what it began, and nothing else.
type teardown struct {
	log   *slog.Logger
	parts []part
}

// part is one thing to close. close gets the context of the stop; when that
// ends, close must give up waiting.
type part struct {
	name  string
	close func(context.Context) error
}

func (t *teardown) add(name string, close func(context.Context) error) {
	t.parts = append(t.parts, part{name, close})
}

// run closes every part once, the newest first. An error does not keep it from
// closing the others; run returns all errors together, each with its part's name.
func (t *teardown) run(ctx context.Context) error {
	var errs []error
	for len(t.parts) > 0 {
		last := len(t.parts) - 1
		p := t.parts[last]
		t.parts = t.parts[:last]
		t.log.Debug("stopping", "part", p.name)
		if err := p.close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop the %s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

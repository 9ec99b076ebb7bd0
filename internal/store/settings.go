package store

import (
	"context"

	"callbackd"
)

// Settings reads and changes API keys together with their callbacks.
type Settings interface {
	// ReadSettings returns all API keys, oldest first, with their callbacks in force, in
	// PAVE's order of events and then by name. Revoked keys are among them, without
	// callbacks. Callbacks for one session are left out.
	ReadSettings(ctx context.Context) ([]callbackd.KeySettings, error)
	// ChangeSettings runs plan on the settings that ReadSettings returns, and makes the
	// changes that it returns, in their order, in one transaction with their audit entries.
	// plan may run more than once, so it must change nothing. When plan or a change fails,
	// nothing is changed, and ChangeSettings returns the error; that of a change begins with
	// its place. IDs, versions and times of what is new are set in the changes.
	ChangeSettings(ctx context.Context, plan func([]callbackd.KeySettings) ([]callbackd.SettingsChange, error)) ([]callbackd.SettingsChange, error)
}

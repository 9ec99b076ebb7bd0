package callbackd

import "slices"

// KeySettings is an API key with its callbacks in force, without those for one session.
type KeySettings struct {
	Key       Key
	Callbacks []*Callback // none of a revoked key
}

// SettingsChange is one change of many that are made together: of an API key, or of one of
// its callbacks.
type SettingsChange struct {
	// Place is where a file asks for the change, such as keys[0].callbacks[2]. It is empty
	// when the change is made because the file does not name something.
	Place string
	// Key is the API key as it is after all changes. The changes of its callbacks have the
	// same pointer, so that those of a new key get its ID. KeyBefore is nil for a new key,
	// and for the change of a callback.
	KeyBefore, Key *Key
	// Before and After are the callback; both are nil when the change is one of the key.
	// Before is nil for a new callback. After is deleted when the callback is removed; its
	// Releasing says whether the change makes its waiting retries due.
	Before, After *Callback
}

// ChangeAction says what a change does.
type ChangeAction string

// The actions of changes.
const (
	ChangeCreate ChangeAction = "create"
	ChangeChange ChangeAction = "change"
	ChangeRemove ChangeAction = "remove" // revoke a key, delete a callback
)

// Action returns what the change does.
func (c *SettingsChange) Action() ChangeAction {
	switch {
	case c.After != nil && c.After.Deleted(), c.After == nil && c.Key.Revoked():
		return ChangeRemove
	case c.After != nil && c.Before == nil, c.After == nil && c.KeyBefore == nil:
		return ChangeCreate
	}
	return ChangeChange
}

// settingsOrder is the order in which changes are made: what is removed makes room for what
// is created, and a callback needs its key.
func (c *SettingsChange) settingsOrder() int {
	switch {
	case c.After == nil:
		return 0
	case c.Action() == ChangeRemove:
		return 1
	case c.Action() == ChangeChange:
		return 2
	}
	return 3
}

// SortSettings puts changes into the order in which they are made.
func SortSettings(changes []SettingsChange) {
	slices.SortStableFunc(changes, func(a, b SettingsChange) int { return a.settingsOrder() - b.settingsOrder() })
}

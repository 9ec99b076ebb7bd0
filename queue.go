package callbackd

// Backlog names a callback that has pending deliveries.
type Backlog struct {
	Key      KeyID // owns the callback
	Callback CallbackID
}

// LaneCursor is a position in a lane. Reading goes on with the event after it.
type LaneCursor struct {
	Session string
	After   EventID // 0 at the beginning of the session
}

// DueClass is a kind of delivery that is due at a certain time. First attempts have no
// such time and belong to no class.
type DueClass int

const (
	// DueRetries are due by the retry schedule, or because a person resent them.
	DueRetries DueClass = iota
	// DueReplays belong to a replay. Their retries do too.
	DueReplays
)

package callbackd

// LaneCursor is a position in a lane: it stands behind one event of a session,
// and reading goes on with the next one.
type LaneCursor struct {
	Session string
	After   EventID // 0: the cursor stands at the beginning of the session
}

// DueClass tells apart the two kinds of deliveries that wait for a time of
// their own. First attempts have no such time and belong to neither.
type DueClass int

const (
	// DueRetries are due by the retry schedule, or because a person resent
	// them.
	DueRetries DueClass = iota
	// DueReplays belong to a replay, their retries included.
	DueReplays
)

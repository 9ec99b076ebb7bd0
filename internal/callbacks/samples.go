package callbacks

import (
	"callbackd"
	"callbackd/internal/store"
)

// samples is the data of test-sends, of the shape each event has.
var samples = map[callbackd.EventType]string{
	callbackd.SMSProcess:   `{"phone":"+15555550100","status":"success"}`,
	callbackd.StageChange:  `{"photo_url":"https://example.com/photo.jpg","photo_status":"ACCEPTED","photo_code":4,"photo_label":"Left"}`,
	callbackd.StatusChange: `{"status":"STARTED","previous_status":"IDLE"}`,
	callbackd.Complete:     `{"session":{"session_key":"TST-0000000000","status":"COMPLETE"}}`,
	callbackd.NoteInsert:   `{"note":{"title":"Sample","description":"A note made by a test","inserted_by":"callbackd","inserted_at":"2021-08-17T13:27:10+00:00"}}`,
}

// SampleSession is the session of test-sends.
const SampleSession = "TST-0000000000"

// Sample is the marked event that a test-send accepts: it is owed to this
// callback alone.
func Sample(cb *callbackd.Callback) store.NewEvent {
	return store.NewEvent{Type: cb.Event, Session: SampleSession, Data: []byte(samples[cb.Event]), OnlyTo: cb.No}
}

package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"callbackd/wire"
)

// Stream says which events FollowEvents reads.
type Stream struct {
	Event      string // of one type only; empty for all
	SessionKey string // of one session only; empty for all
	// After is the cursor to begin after: the ID of an event, "start" for the oldest stored
	// event, or empty for the next one.
	After string
	// Open is called each time the stream is open, and Interrupted each time it has ended and
	// is opened again after a wait. Both may be nil.
	Open        func()
	Interrupted func(err error, wait time.Duration)
}

// Gap is the type of a message of the stream that is not an event: events were removed
// before the reader got them.
const Gap = "gap"

// StreamMessage is one message of the stream of events.
type StreamMessage struct {
	Cursor string      // Stream.After of a reader that goes on behind this message; empty for a gap
	Type   string      // of the event, or Gap
	Event  *wire.Event // nil for a gap
	Text   string      // of a gap: what is missing
}

// Limits of a stream.
const (
	maxStreamLine = 16 << 20         // bytes of one message
	streamSilence = 50 * time.Second // without a byte: the server sends one every 15 s
	maxStreamWait = 30 * time.Second // before the next connection
)

// FollowEvents reads GET /v1/events/stream and calls f for each message, one at a time,
// until ctx ends or f fails. When the connection ends, it connects again and goes on behind
// the last message, after a wait that grows to half a minute. It returns the error of f, that
// of a call that a repeat does not mend, such as a wrong API secret, and nil when ctx ends.
func (c *Client) FollowEvents(ctx context.Context, s Stream, f func(StreamMessage) error) error {
	wait := time.Duration(0)
	for {
		var fromReader *readerError
		opened, err := c.streamOnce(ctx, &s, f)
		var answer *Error
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &fromReader):
			return fromReader.error
		case errors.As(err, &answer) && answer.Status/100 == 4 && answer.Status != http.StatusTooManyRequests:
			return err
		case opened || wait == 0:
			wait = time.Second
		default:
			wait = min(2*wait, maxStreamWait)
		}
		if s.Interrupted != nil {
			s.Interrupted(err, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// readerError is an error of the function that reads the messages.
type readerError struct{ error }

// streamOnce reads one connection to its end, and moves s.After. It reports whether the
// stream was open.
func (c *Client) streamOnce(ctx context.Context, s *Stream, f func(StreamMessage) error) (opened bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := c.StreamEvents(ctx, s.query())
	if err != nil {
		return false, err
	}
	defer body.Close()
	if s.Open != nil {
		s.Open()
	}
	silence := time.AfterFunc(streamSilence, cancel)
	defer silence.Stop()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxStreamLine)
	var m struct {
		id, event string
		data      []byte
	}
	for lines.Scan() {
		silence.Stop()
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			m.id = string(value)
		case "event":
			m.event = string(value)
		case "data":
			m.data = append(m.data, value...)
		}
		if len(lines.Bytes()) == 0 { // the end of a message
			if len(m.data) > 0 {
				msg, err := streamMessage(m.id, m.event, m.data)
				if err != nil {
					return true, err
				}
				if err := f(msg); err != nil {
					return true, &readerError{err}
				}
			}
			if m.id != "" {
				s.After = m.id
			}
			m.id, m.event, m.data = "", "", nil
		}
		silence.Reset(streamSilence)
	}
	if err := lines.Err(); err != nil {
		return true, fmt.Errorf("read the stream: %w", err)
	}
	return true, io.ErrUnexpectedEOF
}

// query returns the query of GET /v1/events/stream that goes on behind s.After.
func (s *Stream) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"event": s.Event, "session_key": s.SessionKey, "after": s.After} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// streamMessage reads one message with data.
func streamMessage(id, event string, data []byte) (StreamMessage, error) {
	msg := StreamMessage{Cursor: id, Type: event}
	if event == Gap {
		var m wire.Message
		if err := json.Unmarshal(data, &m); err != nil {
			return msg, fmt.Errorf("decode a message of the stream: %w", err)
		}
		msg.Text = m.Message
		return msg, nil
	}
	msg.Event = &wire.Event{}
	if err := json.Unmarshal(data, msg.Event); err != nil {
		return msg, fmt.Errorf("decode an event of the stream: %w", err)
	}
	return msg, nil
}

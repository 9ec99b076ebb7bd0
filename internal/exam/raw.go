package exam

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 256 << 10

// forged sends a request that is built at a time and then changed. The receiver should
// refuse it.
func (e *examiner) forged(ctx context.Context, text string, ev *callbackd.Event, secret string, at time.Time, change func(*callbackd.Request)) Request {
	out := request(text, ev, Refuse)
	e.send(ctx, &out, ev, secret, at, change, 1)
	if out.Error == "" && !out.Met() {
		out.Error = fmt.Sprintf("the receiver answered %d", out.Status)
	}
	return out
}

// inPieces sends an event with pauses within its body. The receiver should accept it.
func (e *examiner) inPieces(ctx context.Context, text string, ev *callbackd.Event, pieces int) Request {
	out := request(text, ev, Accept)
	e.send(ctx, &out, ev, e.Secret, time.Now(), nil, pieces)
	if out.Error == "" && !out.Met() {
		out.Error = fmt.Sprintf("the receiver answered %d", out.Status)
	}
	return out
}

// send sends a request on a connection of its own, and stores the answer in out.
func (e *examiner) send(ctx context.Context, out *Request, ev *callbackd.Event, secret string, at time.Time, change func(*callbackd.Request), pieces int) {
	start := time.Now()
	defer func() { out.Time = time.Since(start) }()
	built, err := e.sender.Request(e.callback(secret), ev, 1, at)
	if err != nil {
		out.Error = err.Error()
		return
	}
	if change != nil {
		change(built)
	}
	req := &egress.Request{Method: built.Method, URL: built.URL, Body: built.Body, Close: true}
	for _, h := range built.Headers {
		req.Fields = append(req.Fields, egress.Field{Name: h.Name, Value: h.Value.Reveal()})
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	if out.Status, err = e.exchange(ctx, req, pieces); err != nil {
		out.Error = "the receiver sent no answer: " + err.Error()
		if errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			out.Error = fmt.Sprintf("the receiver did not answer within %s", callbackd.FormatDuration(e.Timeout))
		}
	}
}

// exchange writes a request, its body in pieces with pauses between them, and returns the
// status of the answer.
func (e *examiner) exchange(ctx context.Context, req *egress.Request, pieces int) (int, error) {
	text, err := req.Bytes()
	if err != nil {
		return 0, err
	}
	c, err := e.transport.Connect(ctx, req, new(egress.Trace))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	head, body := text[:len(text)-len(req.Body)], req.Body
	size := (len(body) + pieces - 1) / pieces
	for i := range pieces {
		piece := body[min(i*size, len(body)):min((i+1)*size, len(body))]
		if i == 0 {
			piece = append(bytes.Clone(head), piece...)
		} else if !e.Pause(ctx) {
			return 0, ctx.Err()
		}
		if _, err = c.Write(piece); err != nil {
			break // the receiver may have answered before it closed the connection
		}
	}
	status, answerErr := readStatus(c)
	if answerErr != nil {
		return 0, errors.Join(err, answerErr)
	}
	return status, nil
}

func readStatus(c net.Conn) (int, error) {
	r := bufio.NewReader(io.LimitReader(c, maxAnswer))
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return 0, err
		}
		if resp.StatusCode >= 200 {
			return resp.StatusCode, nil
		}
	}
}

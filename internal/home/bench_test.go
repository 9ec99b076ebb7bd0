package home_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkHop measures the CPU time of both sides of a hop: what a call to the other
// node costs more than one to the home itself.
func BenchmarkHop(b *testing.B) {
	c := newCluster(b)
	answer := []byte(strings.Repeat("y", 200))
	a := c.node(1, func(http.ResponseWriter, *http.Request) {})
	n := c.node(2, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Write(answer)
	})
	c.move(1, 2)
	for _, at := range []struct {
		name string
		node *node
	}{{"home", n}, {"other", a}} {
		for _, clients := range []int{1, 64} {
			b.Run(at.name+"-"+map[int]string{1: "1", 64: "64"}[clients], func(b *testing.B) {
				before := cpu()
				var work sync.WaitGroup
				calls := make(chan struct{}, b.N)
				for range b.N {
					calls <- struct{}{}
				}
				close(calls)
				for range clients {
					work.Go(func() { publish(b, at.node.url, calls) })
				}
				work.Wait()
				b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

func publish(b *testing.B, url string, calls <-chan struct{}) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close()
	var text bytes.Buffer
	text.WriteString("POST /v1/events HTTP/1.1\r\nHost: callbackd\r\nAPI-Key: 1\r\nAPI-Token: 0123456789abcdef0123456789abcdef0123456789abcdef\r\nAPI-Timestamp: 1700000000\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n")
	text.WriteString(strings.Repeat("x", 1024))
	in := make([]byte, 4096)
	for range calls {
		if _, err := conn.Write(text.Bytes()); err != nil {
			b.Error(err)
			return
		}
		if _, err := conn.Read(in); err != nil {
			b.Error(err)
			return
		}
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

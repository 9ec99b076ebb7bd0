package archive

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

// zeros is a text without an end, as a small file can be unpacked to.
type zeros struct{ read int }

func (z *zeros) Read(b []byte) (int, error) {
	clear(b)
	z.read += len(b)
	return len(b), nil
}

// A line without an end does not fill the memory.
func TestALineHasALimit(t *testing.T) {
	const most = 100
	for text, want := range map[string]error{
		"":                                  io.EOF,
		"no end":                            io.EOF,
		"a\n":                               nil,
		strings.Repeat("a", most-1) + "\n":  nil,
		strings.Repeat("a", most) + "\n":    errTooLong,
		strings.Repeat("a", 10*most) + "\n": errTooLong,
	} {
		got, err := readLine(bufio.NewReaderSize(strings.NewReader(text), 16), most)
		if !errors.Is(err, want) || err == nil != (want == nil) || want != errTooLong && string(got) != text {
			t.Errorf("%.20q of %d bytes is read as %.20q, %v, want %v", text, len(text), got, err, want)
		}
	}
	endless := new(zeros)
	if _, err := readLine(bufio.NewReaderSize(endless, 16), most); !errors.Is(err, errTooLong) || endless.read > 2*most {
		t.Errorf("of a line without an end %d bytes are read: %v", endless.read, err)
	}
}

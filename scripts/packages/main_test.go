package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packed is the files of a package in a test, by path.
type packed map[string]string

const binaryPath, manPath, confPath = "/usr/bin/callbackd", "/usr/share/man/man1/callbackd.1.gz", "/etc/callbackd.env"

const testRules = `nfpms:
  - formats: [deb, rpm]
    bindir: /usr/bin
    contents:
      - { dst: /etc/callbackd, type: dir }
      - { dst: ` + confPath + `, type: config|noreplace }
      - { dst: ` + manPath + `, packager: deb }
`

func deb(t *testing.T, files packed) []byte {
	t.Helper()
	var data bytes.Buffer
	zipped := gzip.NewWriter(&data)
	w := tar.NewWriter(zipped)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: "." + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	out := "!<arch>\n"
	for _, m := range [][2]string{{"debian-binary", "2.0\n"}, {"control.tar.gz", "odd"}, {"data.tar.gz", data.String()}} {
		out += fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n%s%s", m[0], 0, 0, 0, "100644", len(m[1]), m[1], strings.Repeat("\n", len(m[1])%2))
	}
	return []byte(out)
}

func rpm(files packed) []byte {
	var dirs, names string
	var sizes, dirOf []byte
	n := uint32(0)
	for name, text := range files {
		dir, base := filepath.Split(name)
		dirs, names = dirs+dir+"\x00", names+base+"\x00"
		sizes = binary.BigEndian.AppendUint32(sizes, uint32(len(text)))
		dirOf = binary.BigEndian.AppendUint32(dirOf, n)
		n++
	}
	lead := make([]byte, 96)
	signature := header(map[uint32][]byte{1000: []byte("sig\x00")}, 1)
	signature = append(signature, make([]byte, (8-len(signature)%8)%8)...)
	return append(append(lead, signature...), header(map[uint32][]byte{rpmNames: []byte(names), rpmDirs: []byte(dirs), rpmSizes: sizes, rpmDirOfFile: dirOf}, n)...)
}

// header returns an RPM header with tags of n values each.
func header(tags map[uint32][]byte, n uint32) []byte {
	var index, store []byte
	for id, data := range tags {
		for _, v := range []uint32{id, 0, uint32(len(store)), n} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		store = append(store, data...)
	}
	out := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	out = binary.BigEndian.AppendUint32(out, uint32(len(tags)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))
	return append(append(out, index...), store...)
}

// A package without a file that belongs into it, or with an empty one, is named with the file.
func TestPackagesAreChecked(t *testing.T) {
	whole := packed{binaryPath: "b", manPath: "m", confPath: "c"}
	without := func(path string) packed {
		less := packed{}
		for name, text := range whole {
			if name != path {
				less[name] = text
			}
		}
		return less
	}
	empty := without("")
	empty[confPath] = ""
	for name, c := range map[string]struct {
		deb, rpm packed
		want     []string // in the error; nil: there is none
	}{
		"complete":                            {whole, whole, nil},
		"the page is for Debian only":         {whole, without(manPath), nil},
		"no manual page":                      {without(manPath), whole, []string{"c.deb", manPath}},
		"no binary":                           {whole, without(binaryPath), []string{"c.rpm", binaryPath}},
		"an empty file":                       {empty, whole, []string{"c.deb", confPath}},
		"both packages lack the same setting": {without(confPath), without(confPath), []string{"c.deb", "c.rpm", confPath}},
	} {
		dir := t.TempDir()
		for file, raw := range map[string][]byte{"c.deb": deb(t, c.deb), "c.rpm": rpm(c.rpm)} {
			if err := os.WriteFile(filepath.Join(dir, file), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := check(dir, []byte(testRules))
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: the check ends with %v", name, err)
		}
		for _, part := range c.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not name %s", name, err, part)
			}
		}
	}
	if err := check(t.TempDir(), []byte(testRules)); err == nil {
		t.Error("a folder without packages passes")
	}
}

// A package that is cut off is an error.
func TestPackagesThatAreCutOff(t *testing.T) {
	files := packed{binaryPath: "b"}
	for format, raw := range map[string][]byte{"deb": deb(t, files), "rpm": rpm(files)} {
		for n := range len(raw) {
			has, err := readers[format](raw[:n])
			if err == nil && has[binaryPath] > 0 && format == "rpm" || err == nil && len(has) == 0 {
				t.Fatalf("%d of %d bytes of a package in the format %s are read as %v", n, len(raw), format, has)
			}
		}
	}
}

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// debFiles reads a Debian package: an ar archive, whose data is a tar archive.
func debFiles(pkg []byte) (map[string]int64, error) {
	const magic, data, headerSize = "!<arch>\n", "data.tar.gz", 60
	rest, ok := bytes.CutPrefix(pkg, []byte(magic))
	for ok && len(rest) >= headerSize {
		name := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		if err != nil || size < 0 || size > len(rest)-headerSize {
			return nil, fmt.Errorf("its member %s has no valid size", name)
		}
		rest = rest[headerSize:]
		if name == data {
			return tarFiles(bytes.NewReader(rest[:size]))
		}
		rest = rest[min(size+size%2, len(rest)):]
	}
	return nil, errors.New("it has no " + data)
}

// tarFiles reads a compressed tar archive, whose paths begin with "./".
func tarFiles(from io.Reader) (map[string]int64, error) {
	unzipped, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	files := map[string]int64{}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			files[path.Join("/", h.Name)] = h.Size
		}
	}
}

// The tags of an RPM header that describe its files.
const (
	rpmSizes     = 1028
	rpmDirOfFile = 1116
	rpmNames     = 1117
	rpmDirs      = 1118
)

// rpmFiles reads the list of files in an RPM package: after a lead of 96 bytes come the header
// of the signature, which is padded to 8 bytes, and that of the package.
func rpmFiles(pkg []byte) (map[string]int64, error) {
	const leadSize = 96
	if len(pkg) < leadSize {
		return nil, errors.New("it is too short for an RPM package")
	}
	_, size, err := rpmHeader(pkg[leadSize:])
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	begin := leadSize + (size+7)/8*8
	if begin > len(pkg) {
		return nil, errors.New("it ends after its signature")
	}
	tags, _, err := rpmHeader(pkg[begin:])
	if err != nil {
		return nil, err
	}
	names, dirs := texts(tags[rpmNames]), texts(tags[rpmDirs])
	files := map[string]int64{}
	for i, name := range names {
		dir, ok := number(tags[rpmDirOfFile], i)
		length, ok2 := number(tags[rpmSizes], i)
		if !ok || !ok2 || int(dir) >= len(dirs) {
			return nil, fmt.Errorf("its header does not describe the file %s", name)
		}
		files[path.Join(dirs[dir], name)] = int64(length)
	}
	return files, nil
}

// tag is the value of an RPM header's tag: count values, which begin with data.
type tag struct {
	count int
	data  []byte
}

// rpmHeader reads a header and returns its tags and its size.
func rpmHeader(raw []byte) (tags map[uint32]tag, size int, err error) {
	const introSize, entrySize = 16, 16
	if len(raw) < introSize || !bytes.HasPrefix(raw, []byte{0x8e, 0xad, 0xe8, 1}) {
		return nil, 0, errors.New("it has no RPM header where one belongs")
	}
	n, length := int(binary.BigEndian.Uint32(raw[8:])), int(binary.BigEndian.Uint32(raw[12:]))
	if n > len(raw)/entrySize || length > len(raw)-introSize-n*entrySize {
		return nil, 0, errors.New("an RPM header is cut off")
	}
	store := raw[introSize+n*entrySize:][:length]
	tags = map[uint32]tag{}
	for i := range n {
		e := raw[introSize+i*entrySize:]
		at := int(binary.BigEndian.Uint32(e[8:]))
		if at > len(store) {
			return nil, 0, errors.New("a tag of an RPM header is outside of it")
		}
		tags[binary.BigEndian.Uint32(e)] = tag{int(binary.BigEndian.Uint32(e[12:])), store[at:]}
	}
	return tags, introSize + n*entrySize + length, nil
}

// texts returns the values of a tag with texts, each of which ends with a zero byte.
func texts(t tag) (out []string) {
	for rest := t.data; len(out) < t.count; {
		text, after, found := bytes.Cut(rest, []byte{0})
		if !found {
			break
		}
		out, rest = append(out, string(text)), after
	}
	return out
}

// number returns value i of a tag with numbers of 32 bits.
func number(t tag, i int) (uint32, bool) {
	if i >= t.count || len(t.data) < 4*(i+1) {
		return 0, false
	}
	return binary.BigEndian.Uint32(t.data[4*i:]), true
}

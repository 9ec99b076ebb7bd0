// Command packages checks the packages of a release: each Debian and RPM package has the
// binary and every file that goreleaser.yaml puts into it, and none of them is empty.
// scripts/release/release runs it.
//
//	go run ./scripts/packages DIST
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

const rules = "scripts/release/goreleaser.yaml"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "packages: name the folder of the packages, as in: go run ./scripts/packages dist")
		os.Exit(78)
	}
	raw, err := os.ReadFile(rules)
	if err == nil {
		err = check(os.Args[1], raw)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

// reader returns the sizes of the files in a package, by their absolute paths.
type reader func(pkg []byte) (map[string]int64, error)

var readers = map[string]reader{"deb": debFiles, "rpm": rpmFiles}

// check checks the packages in a folder by the rules of goreleaser.
func check(dist string, rules []byte) error {
	var r struct {
		NFPMs []struct {
			Formats  []string
			BinDir   string
			Contents []struct{ Dst, Type, Packager string }
		} `yaml:"nfpms"`
	}
	if err := yaml.Unmarshal(rules, &r); err != nil {
		return err
	}
	var faults []error
	for _, p := range r.NFPMs {
		for _, format := range p.Formats {
			want := []string{p.BinDir + "/callbackd"}
			for _, c := range p.Contents {
				if c.Type != "dir" && (c.Packager == "" || c.Packager == format) {
					want = append(want, c.Dst)
				}
			}
			faults = append(faults, checkAll(dist, format, want))
		}
	}
	return errors.Join(faults...)
}

// checkAll checks all packages of a format.
func checkAll(dist, format string, want []string) error {
	files, err := filepath.Glob(filepath.Join(dist, "*."+format))
	if err != nil {
		return err
	}
	read := readers[format]
	if len(files) == 0 || read == nil {
		return fmt.Errorf("%s has no package of the format %s, or this program does not read that: look at nfpms in %s", dist, format, rules)
	}
	var faults []error
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		has, err := read(raw)
		if err != nil {
			return fmt.Errorf("%s cannot be read; build it again: %w", file, err)
		}
		faults = append(faults, missing(filepath.Base(file), has, want))
	}
	return errors.Join(faults...)
}

// missing names the files that a package does not have, or that are empty there.
func missing(name string, has map[string]int64, want []string) error {
	lacks := slices.DeleteFunc(slices.Clone(want), func(path string) bool { return has[path] > 0 })
	if len(lacks) == 0 {
		fmt.Printf("%s has all of its %d files.\n", name, len(want))
		return nil
	}
	return fmt.Errorf("%s lacks these files, or they are empty: %s; look at nfpms in %s", name, strings.Join(lacks, ", "), rules)
}

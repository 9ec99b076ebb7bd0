// Package profile reads and writes profiles. A profile is a file of one user that holds the
// URL of a server and an API key, so that commands need neither options nor variables.
package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"callbackd"
	"callbackd/internal/system"
)

// Default is the name of the profile that is used when none is named.
const Default = "default"

// Profile is what a file holds.
type Profile struct {
	Server    string `json:"server"`
	Account   string `json:"account"`
	APIKey    string `json:"api_key"`
	APISecret string `json:"api_secret"`
}

// Folder is the folder of a user's profiles.
type Folder string

// UserFolder returns the folder of the user who runs the command: callbackd/profiles in the
// folder for configuration, which is $XDG_CONFIG_HOME or ~/.config on Linux.
func UserFolder() (Folder, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", callbackd.Wrap(callbackd.KindSetting, err, "this user has no folder for profiles")
	}
	return Folder(filepath.Join(dir, "callbackd", "profiles")), nil
}

// suffix ends the name of a file with a profile.
const suffix = ".json"

// names matches the names that a profile may have: they are also names of files.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckName returns an error unless name may be the name of a profile.
func CheckName(name string) error {
	if !names.MatchString(name) {
		return callbackd.Errorf(callbackd.KindSetting, "--profile %q is not a name of a profile; use up to 64 letters, digits, dots, hyphens and underscores, and begin with a letter or a digit", name)
	}
	return nil
}

// Path returns the file of a profile.
func (d Folder) Path(name string) string { return filepath.Join(string(d), name+suffix) }

// maxFile is how much of a file is read, in bytes.
const maxFile = 64 << 10

// othersBits are the rights of everyone but the owner of a file.
const othersBits = 0o077

// Read reads a profile. The error is an [fs.ErrNotExist] when there is none. It refuses a file
// that other users can read or write.
func (d Folder) Read(name string) (p Profile, err error) {
	if err := CheckName(name); err != nil {
		return p, err
	}
	path := d.Path(name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	if err != nil {
		return p, callbackd.Wrap(callbackd.KindSetting, err, "the profile "+name+" cannot be read")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return p, fmt.Errorf("the profile %s: %w", name, err)
	}
	if mode := system.Mode(info).Perm(); mode&othersBits != 0 {
		return p, callbackd.Errorf(callbackd.KindSetting, "the file of the profile %s has the mode %04o, so other users of this machine may read the API secret in it. Run: chmod 600 '%s'. If somebody may have read it, replace the secret with `callbackd keys rotate`", name, mode, path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return p, callbackd.Wrap(callbackd.KindSetting, err, "the profile "+name+" cannot be read")
	}
	if err := json.Unmarshal(raw, &p); err != nil || p.Server == "" || p.Account == "" || p.APIKey == "" || p.APISecret == "" {
		return p, callbackd.Errorf(callbackd.KindSetting, "the file '%s' is not a profile: it must be a JSON object with server, account, api_key and api_secret. Write it again with `callbackd login --profile %s`", path, name)
	}
	return p, nil
}

// Write writes a profile, in place of one with the same name. Only the user can read it. A
// crash leaves either the old file or the new one.
func (d Folder) Write(name string, p Profile) (err error) {
	if err := CheckName(name); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = callbackd.Wrap(callbackd.KindSetting, err, "the profile "+name+" cannot be written")
		}
	}()
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(string(d), 0o700); err != nil { // it may be older, with another mode
		return err
	}
	f, err := os.CreateTemp(string(d), "."+name+"-*") // has the mode 0600; a name with a dot is no profile
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(append(raw, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.Path(name)); err != nil {
		return err
	}
	return system.SyncDir(string(d))
}

// Remove removes a profile. The error is an [fs.ErrNotExist] when there is none.
func (d Folder) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return os.Remove(d.Path(name))
}

// Names returns the names of all profiles, in order.
func (d Folder) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, "the profiles cannot be listed")
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && names.MatchString(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"callbackd"
	"callbackd/internal/system"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// newSuffix ends the name of the file that becomes the keyset. It exists only while a
// command changes the keyset, and keeps a second one from doing so at the same time.
const newSuffix = ".new"

// readFile reads a keyset file.
func readFile(file string) (*keyset.Handle, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, fmt.Sprintf("the keyset %s that opens the stored secrets is missing: restore it from the backup, or give its path with --secret-keys", file))
	}
	if err != nil {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, "the keyset cannot be read")
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, file+" holds no keyset")
	}
	return handle, nil
}

// List returns which keys are in a keyset file.
func List(file string) (callbackd.Keyset, error) {
	handle, err := readFile(file)
	if err != nil {
		return callbackd.Keyset{}, err
	}
	return keysOf(handle), nil
}

// keysOf returns which keys a keyset has.
func keysOf(handle *keyset.Handle) (k callbackd.Keyset) {
	all := insecurecleartextkeyset.KeysetMaterial(handle)
	k.Primary = callbackd.SealingKey(all.GetPrimaryKeyId())
	for _, key := range all.GetKey() {
		if key.GetStatus() == tinkpb.KeyStatusType_ENABLED {
			k.Keys = append(k.Keys, callbackd.SealingKey(key.GetKeyId()))
		}
	}
	return k
}

// Add adds a new key to a keyset file and returns its ID. The primary key stays the same.
func Add(file string) (id callbackd.SealingKey, err error) {
	err = change(file, func(m *keyset.Manager) error {
		n, err := m.Add(aead.AES256GCMKeyTemplate())
		id = callbackd.SealingKey(n)
		return err
	})
	return id, err
}

// Promote makes a key of a keyset file the primary one.
func Promote(file string, id callbackd.SealingKey) error {
	return change(file, func(m *keyset.Manager) error { return m.SetPrimary(uint32(id)) })
}

// Remove removes keys from a keyset file. What they have sealed cannot be opened with the
// file any more.
func Remove(file string, ids ...callbackd.SealingKey) error {
	return change(file, func(m *keyset.Manager) error {
		for _, id := range ids {
			if err := m.Delete(uint32(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// change replaces a keyset file durably, and at once: after a crash the file is the old or
// the new one. Its owner stays the same, and other users get no access.
func change(file string, f func(*keyset.Manager) error) (err error) {
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return fmt.Errorf("change the keyset: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("change the keyset: %w", err)
	}
	next := file + newSuffix
	out, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return callbackd.Errorf(callbackd.KindConflict, "%s exists: another command changes the keyset at this moment, or was killed. When none runs, remove %s and try again", next, next)
	}
	if err != nil {
		return callbackd.Wrap(callbackd.KindSetting, err, "the keyset cannot be changed: the directory of "+file+" must be writable")
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("the keyset %s is unchanged: %w", file, err), os.Remove(next))
		}
	}()
	handle, err := readFile(file) // after the new file exists: nobody else changes it now
	if err == nil {
		m := keyset.NewManagerFromHandle(handle)
		if err = f(m); err == nil {
			handle, err = m.Handle()
		}
	}
	var buf bytes.Buffer
	if err == nil {
		err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buf))
	}
	if err == nil {
		err = copyOwner(out, info)
	}
	if err == nil {
		_, err = out.Write(buf.Bytes())
	}
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	if err = os.Rename(next, file); err != nil {
		return err
	}
	return system.SyncDir(filepath.Dir(file))
}

// copyOwner gives a file the owner of the one that it replaces, and its mode without the
// rights of other users. Only root may give a file away, and only root needs to.
func copyOwner(f *os.File, like fs.FileInfo) error {
	have, err := f.Stat()
	if err != nil {
		return err
	}
	uid, gid, _ := system.Owner(have)
	if wantUID, wantGID, known := system.Owner(like); known && (uid != wantUID || gid != wantGID) {
		if err := f.Chown(wantUID, wantGID); err != nil {
			return fmt.Errorf("keep the owner of the keyset: %w; run the command as that user or as root", err)
		}
	}
	return f.Chmod(like.Mode().Perm() &^ 0o007)
}

// newKeyset writes a new keyset durably, because without it every secret is lost.
func newKeyset(file string) error {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buf)); err != nil {
		return err
	}
	if err = write(file, buf.Bytes()); errors.Is(err, fs.ErrExist) {
		return nil // another process has made it meanwhile
	}
	return err
}

// Copy copies a keyset durably to a file that does not exist yet.
func Copy(from, to string) error {
	raw, err := os.ReadFile(from)
	if err == nil {
		err = write(to, raw)
	}
	if err != nil {
		return fmt.Errorf("copy the keyset: %w", err)
	}
	return nil
}

func write(file string, keyset []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(keyset)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return system.SyncDir(filepath.Dir(file))
}

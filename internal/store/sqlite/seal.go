package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// sealer encrypts secrets at rest with AES-256-GCM. What a ciphertext
// belongs to is authenticated with it, so that it opens in its own row only.
type sealer struct{ aead tink.AEAD }

// openSealer reads the keyset in file, and makes one when create is set and
// the file is not there.
func openSealer(file string, create bool) (*sealer, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && create {
		raw, err = newKeyset(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the keyset %s that opens the stored secrets is missing: restore it from the backup, or name its place with --secret-keys", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the keyset: %w", err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, fmt.Errorf("%s holds no keyset: %w", file, err)
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use the keyset %s: %w", file, err)
	}
	return &sealer{a}, nil
}

// newKeyset writes a fresh keyset durably: losing it loses every secret.
func newKeyset(file string) ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buf)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(file) // another process was faster
	}
	if err != nil {
		return nil, err
	}
	_, err = f.Write(buf.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	return buf.Bytes(), errors.Join(dir.Sync(), dir.Close())
}

func (s *sealer) seal(plain []byte, owner string) ([]byte, error) {
	out, err := s.aead.Encrypt(plain, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", owner, err)
	}
	return out, nil
}

func (s *sealer) open(sealed []byte, owner string) ([]byte, error) {
	out, err := s.aead.Decrypt(sealed, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("the secret of %s does not open: the keyset is another one, or the row was tampered with: %w", owner, err)
	}
	return out, nil
}

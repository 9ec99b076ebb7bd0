// Package seal encrypts the secrets that a database keeps, and says in which
// form: both drivers keep them alike.
package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"callbackd"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Sealer encrypts secrets at rest with AES-256-GCM. What a ciphertext
// belongs to is authenticated with it, so that it opens in its own row only.
type Sealer struct{ aead tink.AEAD }

// Open reads the keyset in file, and makes one when create is set and
// the file is not there.
func Open(file string, create bool) (*Sealer, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && create {
		raw, err = newKeyset(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, callbackd.Errorf(callbackd.KindSetting, "the keyset %s that opens the stored secrets is missing: restore it from the backup, or name its place with --secret-keys", file)
	}
	if err != nil {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, "the keyset cannot be read")
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, file+" holds no keyset")
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, "the keyset "+file+" cannot be used")
	}
	return &Sealer{a}, nil
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
	err = write(file, buf.Bytes())
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(file) // another process was faster
	}
	return buf.Bytes(), err
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
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Seal encrypts what belongs to owner.
func (s *Sealer) Seal(plain []byte, owner string) ([]byte, error) {
	out, err := s.aead.Encrypt(plain, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", owner, err)
	}
	return out, nil
}

// Unseal decrypts what Seal made for the same owner.
func (s *Sealer) Unseal(sealed []byte, owner string) ([]byte, error) {
	out, err := s.aead.Decrypt(sealed, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("the secret of %s does not open: the keyset is another one, or the row was tampered with: %w", owner, err)
	}
	return out, nil
}

// What is sealed, in the form it has in the database.
type (
	sealedHeader struct{ Name, Value string }
	sealedSecret struct {
		Value     string
		ExpiresAt time.Time
	}
)

func keyOwner(apiKey string) string { return "key " + apiKey }

func headersOwner(no callbackd.CallbackID, version int64) string {
	return fmt.Sprintf("callback %d version %d headers", no, version)
}

func secretsOwner(no callbackd.CallbackID) string { return fmt.Sprintf("callback %d secrets", no) }

// Key seals the secret of an API key.
func (s *Sealer) Key(k callbackd.Key) ([]byte, error) {
	return s.Seal([]byte(k.Secret.Reveal()), keyOwner(k.APIKey))
}

// OpenKey is the secret that Key sealed.
func (s *Sealer) OpenKey(sealed []byte, apiKey string) (callbackd.Secret, error) {
	plain, err := s.Unseal(sealed, keyOwner(apiKey))
	return callbackd.Secret(plain), err
}

// Headers seals the headers of a version of a callback.
func (s *Sealer) Headers(c *callbackd.Callback) ([]byte, error) {
	headers := make([]sealedHeader, len(c.Headers))
	for i, h := range c.Headers {
		headers[i] = sealedHeader{h.Name, h.Value.Reveal()}
	}
	return s.sealJSON(headers, headersOwner(c.ID, c.Version))
}

// OpenHeaders is the headers that Headers sealed.
func (s *Sealer) OpenHeaders(sealed []byte, no callbackd.CallbackID, version int64) (out []callbackd.Header, err error) {
	var headers []sealedHeader
	if err := s.unsealJSON(sealed, headersOwner(no, version), &headers); err != nil {
		return nil, err
	}
	for _, h := range headers {
		out = append(out, callbackd.Header{Name: h.Name, Value: callbackd.Secret(h.Value)})
	}
	return out, nil
}

// Secrets seals the signing secrets of a callback.
func (s *Sealer) Secrets(c *callbackd.Callback) ([]byte, error) {
	secrets := make([]sealedSecret, len(c.Secrets))
	for i, v := range c.Secrets {
		secrets[i] = sealedSecret{v.Value.Reveal(), v.ExpiresAt}
	}
	return s.sealJSON(secrets, secretsOwner(c.ID))
}

// OpenSecrets is the signing secrets that Secrets sealed.
func (s *Sealer) OpenSecrets(sealed []byte, no callbackd.CallbackID) (out []callbackd.SigningSecret, err error) {
	var secrets []sealedSecret
	if err := s.unsealJSON(sealed, secretsOwner(no), &secrets); err != nil {
		return nil, err
	}
	for _, v := range secrets {
		out = append(out, callbackd.SigningSecret{Value: callbackd.Secret(v.Value), ExpiresAt: v.ExpiresAt})
	}
	return out, nil
}

func answerOwner(key callbackd.KeyID, hash []byte) string {
	return fmt.Sprintf("answer %d %x", key, hash)
}

// Answer seals the answer that an idempotency key stands for.
func (s *Sealer) Answer(key callbackd.KeyID, hash, answer []byte) ([]byte, error) {
	return s.Seal(answer, answerOwner(key, hash))
}

// OpenAnswer is the answer that Answer sealed.
func (s *Sealer) OpenAnswer(sealed []byte, key callbackd.KeyID, hash []byte) ([]byte, error) {
	return s.Unseal(sealed, answerOwner(key, hash))
}

func (s *Sealer) sealJSON(v any, owner string) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return s.Seal(plain, owner)
}

func (s *Sealer) unsealJSON(sealed []byte, owner string, into any) error {
	plain, err := s.Unseal(sealed, owner)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, into)
}

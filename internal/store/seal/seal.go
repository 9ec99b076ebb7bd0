// Package seal encrypts the secrets in a database, in the same form for both drivers.
package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"callbackd"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Sealer encrypts stored secrets with AES-256-GCM. A ciphertext is bound to its owner, so
// that it cannot be decrypted in another row.
type Sealer struct {
	aead   tink.AEAD
	keyset *keyset.Handle
}

// Open reads the keyset in file. When create is set and there is no such file, it makes
// a new keyset.
func Open(file string, create bool) (*Sealer, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && create {
		raw, err = newKeyset(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, callbackd.Errorf(callbackd.KindSetting, "the keyset %s that opens the stored secrets is missing: restore it from the backup, or give its path with --secret-keys", file)
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
	return &Sealer{a, handle}, nil
}

// derivedSize is the length of a derived key, in bytes.
const derivedSize = 32

// Derive returns keys for a purpose, one for each key of the keyset, the primary one's
// first. Every process with the keyset derives the same keys. They reveal nothing about
// the keyset.
func (s *Sealer) Derive(purpose string) (keys [][]byte, err error) {
	all := insecurecleartextkeyset.KeysetMaterial(s.keyset)
	for _, k := range all.GetKey() {
		if k.GetStatus() != tinkpb.KeyStatusType_ENABLED {
			continue
		}
		derived, err := hkdf.Key(sha256.New, k.GetKeyData().GetValue(), nil, purpose, derivedSize)
		if err != nil {
			return nil, fmt.Errorf("derive a key for %s: %w", purpose, err)
		}
		if k.GetKeyId() == all.GetPrimaryKeyId() {
			keys = slices.Insert(keys, 0, derived)
		} else {
			keys = append(keys, derived)
		}
	}
	return keys, nil
}

// newKeyset writes a new keyset durably, because without it every secret is lost.
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
		return os.ReadFile(file) // another process has made it meanwhile
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

// Seal encrypts a text that belongs to owner.
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

// The JSON of what is sealed.
type (
	sealedHeader struct{ Name, Value string }
	sealedSecret struct {
		Value     string
		ExpiresAt time.Time
		// Auth is set instead of Value in the entries of how a callback signs in, which
		// come last: now, and until ExpiresAt before.
		Auth *sealedAuth `json:",omitempty"`
	}
	// sealedAuth is an Auth, in whose JSON the secrets are masked, and its secrets by
	// the names of [callbackd.Auth.Secrets].
	sealedAuth struct {
		Auth    *callbackd.Auth
		Secrets map[string]string
	}
)

func newSealedAuth(a *callbackd.Auth) *sealedAuth {
	out := &sealedAuth{Auth: a, Secrets: map[string]string{}}
	for _, secret := range a.Secrets() {
		out.Secrets[secret.Name] = secret.Value.Reveal()
	}
	return out
}

// open returns the Auth with its secrets. One that is not set was masked as well.
func (s *sealedAuth) open() *callbackd.Auth {
	for _, secret := range s.Auth.Secrets() {
		*secret.Value = callbackd.Secret(s.Secrets[secret.Name])
	}
	return s.Auth
}

func keyOwner(apiKey string) string { return "key " + apiKey }

func headersOwner(id callbackd.CallbackID, version int64) string {
	return fmt.Sprintf("callback %d version %d headers", id, version)
}

func secretsOwner(id callbackd.CallbackID) string { return fmt.Sprintf("callback %d secrets", id) }

// Key seals the secret of an API key.
func (s *Sealer) Key(k callbackd.Key) ([]byte, error) {
	return s.Seal([]byte(k.Secret.Reveal()), keyOwner(k.APIKey))
}

// OpenKey returns the secret that Key sealed.
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

// OpenHeaders returns the headers that Headers sealed.
func (s *Sealer) OpenHeaders(sealed []byte, id callbackd.CallbackID, version int64) (out []callbackd.Header, err error) {
	var headers []sealedHeader
	if err := s.unsealJSON(sealed, headersOwner(id, version), &headers); err != nil {
		return nil, err
	}
	for _, h := range headers {
		out = append(out, callbackd.Header{Name: h.Name, Value: callbackd.Secret(h.Value)})
	}
	return out, nil
}

// Secrets seals the signing secrets of a callback, and how it signs in.
func (s *Sealer) Secrets(c *callbackd.Callback) ([]byte, error) {
	secrets := make([]sealedSecret, len(c.Secrets))
	for i, v := range c.Secrets {
		secrets[i] = sealedSecret{Value: v.Value.Reveal(), ExpiresAt: v.ExpiresAt}
	}
	if c.Policy.Auth != nil {
		secrets = append(secrets, sealedSecret{Auth: newSealedAuth(c.Policy.Auth)})
	}
	if c.OldAuth.Auth != nil {
		secrets = append(secrets, sealedSecret{Auth: newSealedAuth(c.OldAuth.Auth), ExpiresAt: c.OldAuth.EndsAt})
	}
	return s.sealJSON(secrets, secretsOwner(c.ID))
}

// OpenSecrets gives the callback, which has its id, what Secrets sealed.
func (s *Sealer) OpenSecrets(sealed []byte, c *callbackd.Callback) error {
	var secrets []sealedSecret
	if err := s.unsealJSON(sealed, secretsOwner(c.ID), &secrets); err != nil {
		return err
	}
	for _, v := range secrets {
		switch {
		case v.Auth == nil:
			c.Secrets = append(c.Secrets, callbackd.SigningSecret{Value: callbackd.Secret(v.Value), ExpiresAt: v.ExpiresAt})
		case v.ExpiresAt.IsZero():
			c.Policy.Auth = v.Auth.open()
		default:
			c.OldAuth = callbackd.OldAuth{Auth: v.Auth.open(), EndsAt: v.ExpiresAt}
		}
	}
	return nil
}

func answerOwner(key callbackd.KeyID, hash []byte) string {
	return fmt.Sprintf("answer %d %x", key, hash)
}

// Answer seals the stored answer of an idempotency key.
func (s *Sealer) Answer(key callbackd.KeyID, hash, answer []byte) ([]byte, error) {
	return s.Seal(answer, answerOwner(key, hash))
}

// OpenAnswer returns the answer that Answer sealed.
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

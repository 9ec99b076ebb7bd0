// Package seal encrypts the secrets in a database, in the same form for both drivers.
package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/core/cryptofmt"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Sealer encrypts stored secrets with AES-256-GCM. A ciphertext is bound to its owner, so
// that it cannot be decrypted in another row. It begins with the ID of the key that made
// it.
//
// The keyset may change while the Sealer is in use: see [Sealer.Reload].
type Sealer struct {
	file    string
	loading sync.Mutex // one Reload at a time
	now     atomic.Pointer[loaded]
}

// loaded is a keyset as it was read.
type loaded struct {
	aead   tink.AEAD
	keyset *keyset.Handle
	keys   callbackd.Keyset
	file   fs.FileInfo // when it was read
}

// Open reads the keyset in file. When create is set and there is no such file, it makes
// a new keyset.
func Open(file string, create bool) (*Sealer, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && create {
		if err := newKeyset(file); err != nil {
			return nil, callbackd.Wrap(callbackd.KindSetting, err, "the keyset cannot be made")
		}
	}
	l, err := load(file)
	if err != nil {
		return nil, err
	}
	s := &Sealer{file: file}
	s.now.Store(l)
	return s, nil
}

func load(file string) (*loaded, error) {
	info, err := os.Stat(file) // before it is read: a change meanwhile is seen the next time
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, "the keyset cannot be read")
	}
	handle, err := readFile(file)
	if err != nil {
		return nil, err
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, callbackd.Wrap(callbackd.KindSetting, err, "the keyset "+file+" cannot be used")
	}
	return &loaded{a, handle, keysOf(handle), info}, nil
}

// isFile reports whether the keyset was read from the file as it is now.
func (l *loaded) isFile(now fs.FileInfo) bool {
	return l.file != nil && os.SameFile(l.file, now) && l.file.ModTime().Equal(now.ModTime()) && l.file.Size() == now.Size()
}

// Reload reads the keyset file again when it has changed, and reports whether other keys
// are in use now. After an error the keys stay as they were.
func (s *Sealer) Reload() (changed bool, err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	info, err := os.Stat(s.file)
	if err != nil {
		return false, fmt.Errorf("the keyset file is not read again: %w", err)
	}
	before := s.now.Load()
	if before.isFile(info) {
		return false, nil
	}
	next, err := load(s.file)
	if err == nil {
		err = before.keys.CheckReload(next.keys)
	}
	if err != nil {
		return false, err
	}
	s.now.Store(next)
	return next.keys.String() != before.keys.String(), nil
}

// Keyset returns which keys are in use.
func (s *Sealer) Keyset() callbackd.Keyset { return s.now.Load().keys }

// derivedSize is the length of a derived key, in bytes.
const derivedSize = 32

// Derive returns keys for a purpose, one for each key of the keyset, the primary one's
// first. Every process with the keyset derives the same keys. They reveal nothing about
// the keyset. They change with the keyset, so nothing that must last may depend on them.
func (s *Sealer) Derive(purpose string) (keys [][]byte, err error) {
	all := insecurecleartextkeyset.KeysetMaterial(s.now.Load().keyset)
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

// Seal encrypts a text that belongs to owner.
func (s *Sealer) Seal(plain []byte, owner string) ([]byte, error) {
	out, err := s.now.Load().aead.Encrypt(plain, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", owner, err)
	}
	return out, nil
}

// Unseal decrypts what Seal made for the same owner. When the key is not in use it reads
// the keyset file again.
func (s *Sealer) Unseal(sealed []byte, owner string) ([]byte, error) {
	id := KeyOf(sealed)
	if id != 0 && !s.Keyset().Has(id) {
		if _, err := s.Reload(); err != nil || !s.Keyset().Has(id) {
			return nil, errors.Join(fmt.Errorf("the secret of %s is sealed with the key %s, which the keyset %s does not have: copy the keyset from a node that has it, or put back the file of a backup; a running server reads the file again by itself, and nothing was changed", owner, id, s.file), err)
		}
	}
	out, err := s.now.Load().aead.Decrypt(sealed, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("the secret of %s does not open: the keyset is another one, or the row was tampered with: %w", owner, err)
	}
	return out, nil
}

// prefixSize is the length of what Tink puts before a ciphertext: the version of the
// format, and the ID of the key in four bytes.
const prefixSize = 5

// KeyOf returns the ID of the key that a ciphertext names; 0 when it names none.
func KeyOf(sealed []byte) callbackd.SealingKey {
	if len(sealed) < prefixSize || sealed[0] != cryptofmt.TinkStartByte {
		return 0
	}
	return callbackd.SealingKey(binary.BigEndian.Uint32(sealed[1:prefixSize]))
}

// Reseal opens what Seal made for the owner, and seals it with the primary key. It returns
// nil when the primary key has sealed it already.
func (s *Sealer) Reseal(sealed []byte, owner string) ([]byte, error) {
	plain, err := s.Unseal(sealed, owner)
	if err != nil || KeyOf(sealed) == s.Keyset().Primary {
		return nil, err
	}
	return s.Seal(plain, owner)
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

// KeyOwner is the owner of the secrets of an API key.
func KeyOwner(apiKey string) string { return "key " + apiKey }

// HeadersOwner is the owner of the headers of a version of a callback.
func HeadersOwner(id callbackd.CallbackID, version int64) string {
	return fmt.Sprintf("callback %d version %d headers", id, version)
}

// SecretsOwner is the owner of the signing secrets of a callback, and of how it signs in.
func SecretsOwner(id callbackd.CallbackID) string { return fmt.Sprintf("callback %d secrets", id) }

// Key seals the secret of an API key.
func (s *Sealer) Key(k callbackd.Key) ([]byte, error) {
	return s.Seal([]byte(k.Secret.Reveal()), KeyOwner(k.APIKey))
}

// OpenKey returns the secret that Key sealed.
func (s *Sealer) OpenKey(sealed []byte, apiKey string) (callbackd.Secret, error) {
	plain, err := s.Unseal(sealed, KeyOwner(apiKey))
	return callbackd.Secret(plain), err
}

// Headers seals the headers of a version of a callback.
func (s *Sealer) Headers(c *callbackd.Callback) ([]byte, error) {
	headers := make([]sealedHeader, len(c.Headers))
	for i, h := range c.Headers {
		headers[i] = sealedHeader{h.Name, h.Value.Reveal()}
	}
	return s.sealJSON(headers, HeadersOwner(c.ID, c.Version))
}

// OpenHeaders returns the headers that Headers sealed.
func (s *Sealer) OpenHeaders(sealed []byte, id callbackd.CallbackID, version int64) (out []callbackd.Header, err error) {
	var headers []sealedHeader
	if err := s.unsealJSON(sealed, HeadersOwner(id, version), &headers); err != nil {
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
	return s.sealJSON(secrets, SecretsOwner(c.ID))
}

// OpenSecrets gives the callback, which has its id, what Secrets sealed.
func (s *Sealer) OpenSecrets(sealed []byte, c *callbackd.Callback) error {
	var secrets []sealedSecret
	if err := s.unsealJSON(sealed, SecretsOwner(c.ID), &secrets); err != nil {
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

// AnswerOwner is the owner of the stored answer of an idempotency key.
func AnswerOwner(key callbackd.KeyID, hash []byte) string {
	return fmt.Sprintf("answer %d %x", key, hash)
}

// Answer seals the stored answer of an idempotency key.
func (s *Sealer) Answer(key callbackd.KeyID, hash, answer []byte) ([]byte, error) {
	return s.Seal(answer, AnswerOwner(key, hash))
}

// OpenAnswer returns the answer that Answer sealed.
func (s *Sealer) OpenAnswer(sealed []byte, key callbackd.KeyID, hash []byte) ([]byte, error) {
	return s.Unseal(sealed, AnswerOwner(key, hash))
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

package callbackd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SealingKey is the ID of a key that seals secrets. It says nothing about the key itself.
type SealingKey uint32

// String returns the ID as people see it.
func (k SealingKey) String() string { return strconv.FormatUint(uint64(k), 10) }

// ParseSealingKey reads what [SealingKey.String] wrote.
func ParseSealingKey(s string) (SealingKey, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, Errorf(KindSetting, "%q is not the ID of a key; `callbackd keyset list` shows them", s)
	}
	return SealingKey(n), nil
}

// Keyset says which sealing keys a process has. The primary key seals; every key opens.
type Keyset struct {
	Primary SealingKey
	Keys    []SealingKey // in the order in which they were added, with the primary one
}

// String returns the IDs of the keys, oldest first, with a * after the primary one.
func (k Keyset) String() string {
	ids := make([]string, len(k.Keys))
	for i, id := range k.Keys {
		ids[i] = id.String()
		if id == k.Primary {
			ids[i] += "*"
		}
	}
	return strings.Join(ids, " ")
}

// ParseKeyset reads what [Keyset.String] wrote. Of another text it returns a Keyset
// without the keys that it cannot read.
func ParseKeyset(s string) (k Keyset) {
	for _, f := range strings.Fields(s) {
		id, err := ParseSealingKey(strings.TrimSuffix(f, "*"))
		if err != nil {
			continue
		}
		k.Keys = append(k.Keys, id)
		if strings.HasSuffix(f, "*") {
			k.Primary = id
		}
	}
	return k
}

// Has reports whether the keyset has a key.
func (k Keyset) Has(id SealingKey) bool { return slices.Contains(k.Keys, id) }

// Waiting returns the newest key when it was added after the primary one, and so waits to
// become primary; 0 when none does.
func (k Keyset) Waiting() SealingKey {
	if n := len(k.Keys); n > 0 && k.Keys[n-1] != k.Primary {
		return k.Keys[n-1]
	}
	return 0
}

// Replaced returns the keys that were added before the primary one.
func (k Keyset) Replaced() []SealingKey {
	return k.Keys[:max(slices.Index(k.Keys, k.Primary), 0)]
}

// NodeKeyset is the keyset of a running node.
type NodeKeyset struct {
	Node string
	Keyset
}

// CheckPromote returns an error when a key must not become the primary one: a node that
// lacks it could not open what the others seal.
func (k Keyset) CheckPromote(id SealingKey, nodes []NodeKeyset) error {
	switch {
	case !k.Has(id):
		return Errorf(KindSetting, "the keyset has no key %s; `callbackd keyset list` shows its keys", id)
	case id == k.Primary:
		return Errorf(KindConflict, "the key %s is the primary one already", id)
	}
	for _, n := range nodes {
		if !n.Has(id) {
			return Errorf(KindConflict, "the node %s does not have the key %s and could not open what the others seal with it: copy the keyset file to every node first. A node reads its file again within seconds, and one that has stopped is forgotten within seconds", n.Node, id)
		}
	}
	return nil
}

// CheckPrune returns an error when a key must not be removed. used counts the secrets in
// the store that each key has sealed.
func (k Keyset) CheckPrune(id SealingKey, used map[SealingKey]int64, nodes []NodeKeyset) error {
	switch {
	case !k.Has(id):
		return Errorf(KindSetting, "the keyset has no key %s; `callbackd keyset list` shows its keys", id)
	case id == k.Primary:
		return Errorf(KindConflict, "the key %s is the primary one, which seals new secrets; make another one primary first, with `callbackd keyset promote`", id)
	case used[id] > 0:
		return Errorf(KindConflict, "the key %s is needed to open %d of the secrets in the store; `callbackd keyset reseal` seals them with the primary key", id, used[id])
	}
	for _, n := range nodes {
		if n.Primary == id {
			return Errorf(KindConflict, "the node %s still seals with the key %s: copy the keyset file to it first. A node reads its file again within seconds, and one that has stopped is forgotten within seconds", n.Node, id)
		}
	}
	return nil
}

// CheckReload returns an error when a process that uses k must not use next instead: with
// no key in common it could not open a single secret that it has sealed.
func (k Keyset) CheckReload(next Keyset) error {
	if slices.ContainsFunc(k.Keys, next.Has) {
		return nil
	}
	return fmt.Errorf("the keyset in the file has the keys %s, and none of those in use, %s: it is another keyset. The old one stays in use until the right file is back", next, k)
}

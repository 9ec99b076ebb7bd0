package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"callbackd"
	"callbackd/internal/app"
	"callbackd/internal/clock"
	"callbackd/internal/humanize"
	"callbackd/internal/progress"
	"callbackd/internal/store"
	"callbackd/internal/store/seal"
	"callbackd/internal/store/sqlite"
)

type keysetCmd struct {
	List    keysetListCmd    `cmd:"" help:"List the keys that seal secrets, with the number of secrets that each has sealed, and the nodes that have them."`
	Rotate  keysetRotateCmd  `cmd:"" help:"Add a new key to the keyset file. It seals nothing before it is the primary key."`
	Promote keysetPromoteCmd `cmd:"" help:"Make a key the primary one, which seals from then on. Every node must have it."`
	Reseal  keysetResealCmd  `cmd:"" help:"Seal every secret in the store with the primary key, also while servers run. It can be interrupted and started again."`
	Prune   keysetPruneCmd   `cmd:"" help:"Remove keys from the keyset file that nothing in the store needs any more."`
}

// keysetFile returns the path of the keyset.
func (d *dataFlag) keysetFile() (string, error) {
	switch {
	case d.SecretKeys != "":
		return d.SecretKeys, nil
	case d.DatabaseURL != "":
		return "", settingf("--database-url needs the keyset file of a node: name it with --secret-keys")
	}
	return filepath.Join(d.Data, sqlite.KeysetFile), nil
}

// keyset is what the commands know of the keys: the file, and the nodes that use a copy.
type keyset struct {
	callbackd.Keyset
	file  string
	nodes []callbackd.NodeKeyset // of a PostgreSQL database
}

// keyset reads the file, and from a PostgreSQL database the keys that its nodes have.
func (d *dataFlag) keyset(ctx context.Context) (k keyset, err error) {
	if k.file, err = d.keysetFile(); err != nil {
		return k, err
	}
	if k.Keyset, err = seal.List(k.file); err != nil || d.DatabaseURL == "" {
		return k, err
	}
	s, err := d.inspect(ctx)
	if err != nil {
		return k, err
	}
	nodes, err := s.(store.Cluster).Nodes(ctx)
	for _, n := range nodes {
		k.nodes = append(k.nodes, callbackd.NodeKeyset{Node: fmt.Sprintf("%d (%s)", n.ID, n.Name), Keyset: n.Keyset})
	}
	return k, errors.Join(err, s.Close())
}

// stepRows and stepPause make the steps of a walk over all secrets: between two of them a
// running server writes.
const (
	stepRows  = 500
	stepPause = 10 * time.Millisecond
)

// walk reads every secret, and calls report after each step.
func walk(ctx context.Context, s store.Store, reseal, count bool, report func(*store.SealedWalk)) (store.SealedCounts, error) {
	w := store.SealedWalk{Reseal: reseal, Rows: stepRows, Count: count}
	for !w.Done {
		if err := s.WalkSealed(ctx, &w); err != nil {
			return w.Sealed, err
		}
		report(&w)
		if !clock.Sleep(ctx, stepPause) {
			return w.Sealed, ctx.Err()
		}
	}
	return w.Sealed, nil
}

// count opens every secret in the store.
func (d *dataFlag) count(e *env) (store.SealedCounts, error) {
	s, err := d.inspect(e.ctx)
	if err != nil {
		return store.SealedCounts{}, err
	}
	bar := progress.New(e.stderr, "secrets", humanize.Number[int64])
	counts, err := walk(e.ctx, s, false, bar != nil, func(w *store.SealedWalk) { bar.Show(w.Sealed.Secrets, w.Total, "") })
	bar.Clear()
	return counts, errors.Join(err, s.Close())
}

type keysetListCmd struct {
	dataFlag
	JSON bool `help:"Print JSON instead of text."`
}

// sealingKey is a key in the output of keyset list.
type sealingKey struct {
	Key     callbackd.SealingKey `json:"key"`
	State   string               `json:"state"`
	Secrets int64                `json:"secrets"`
}

// keysOf returns the keys of the file, and those that only secrets in the store name.
func keysOf(k callbackd.Keyset, counts *store.SealedCounts) (keys []sealingKey) {
	state := "replaced"
	for _, id := range k.Keys {
		now := state
		if id == k.Primary {
			now, state = "primary", "waiting"
		}
		keys = append(keys, sealingKey{id, now, counts.ByKey[id]})
	}
	for _, id := range slices.Sorted(maps.Keys(counts.ByKey)) {
		if !k.Has(id) {
			keys = append(keys, sealingKey{id, "not in the file", counts.ByKey[id]})
		}
	}
	return keys
}

// Run lists the keys.
func (c *keysetListCmd) Run(e *env) error {
	k, err := c.keyset(e.ctx)
	if err != nil {
		return err
	}
	counts, err := c.count(e)
	if err != nil {
		return err
	}
	keys := keysOf(k.Keyset, &counts)
	if c.JSON {
		nodes := map[string]string{}
		for _, n := range k.nodes {
			nodes[n.Node] = n.Keyset.String()
		}
		return json.NewEncoder(e.stdout).Encode(map[string]any{"file": k.file, "keys": keys, "nodes": nodes})
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tSTATE\tSECRETS")
	for _, key := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\n", key.Key, key.State, humanize.Number(key.Secrets))
	}
	if len(k.nodes) > 0 {
		fmt.Fprintln(w, "\t\t\nNODE\tSEALS WITH\tHAS")
	}
	for _, n := range k.nodes {
		if n.Primary == 0 {
			fmt.Fprintf(w, "%s\tits version does not say\t\n", n.Node)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", n.Node, n.Primary, strings.ReplaceAll(n.Keyset.String(), "*", ""))
	}
	return w.Flush()
}

type keysetRotateCmd struct {
	dataFlag
	Primary bool `help:"Make the new key the primary one too, as \"keyset promote\" does. With several nodes that works only when they share the file."`
}

// Run adds a key.
func (c *keysetRotateCmd) Run(e *env) error {
	k, err := c.keyset(e.ctx)
	if err != nil {
		return err
	}
	if id := k.Waiting(); id != 0 {
		return callbackd.Errorf(callbackd.KindConflict, "the key %s was added to %s before and has not become the primary one; `%s` makes it so", id, k.file, c.command("keyset promote"))
	}
	id, err := seal.Add(k.file)
	if err != nil {
		return err
	}
	c.noteKeyset(e, &k)
	fmt.Fprintf(e.stdout, "Added the key %s to %s. It seals nothing yet.\n", id, k.file)
	if c.Primary {
		return c.promote(e, k.file, id)
	}
	if len(k.nodes) > 0 {
		fmt.Fprintln(e.stdout, "Copy the file to every node. Each reads it again within seconds: `"+c.command("keyset list")+"` shows which nodes have the key.")
	}
	_, err = fmt.Fprintf(e.stdout, "Then make it the primary key:\n  %s\n", c.command("keyset promote"))
	return err
}

// command returns a command for the same store.
func (d *dataFlag) command(name string) string {
	out := self() + " " + name
	switch {
	case d.DatabaseURL != "":
		return out + " --database-url … --secret-keys " + shellQuote(d.SecretKeys) // the URL may hold a password
	case d.SecretKeys != "":
		out += " --secret-keys " + shellQuote(d.SecretKeys)
	}
	return out + " --data " + shellQuote(d.Data)
}

// promoteWait is how long a promotion waits for nodes to read the file again.
const promoteWait = 5 * app.KeysetEvery

// promote makes a key the primary one, and waits until servers on this machine seal with
// it.
func (d *dataFlag) promote(e *env, file string, id callbackd.SealingKey) error {
	var k keyset
	for deadline := time.Now().Add(promoteWait); ; {
		var err error
		if k, err = d.keyset(e.ctx); err != nil {
			return err
		}
		err = k.CheckPromote(id, k.nodes)
		if err == nil {
			break
		}
		if !k.Has(id) || id == k.Primary || time.Now().After(deadline) || !clock.Sleep(e.ctx, app.KeysetEvery/4) {
			return err
		}
	}
	if err := seal.Promote(file, id); err != nil {
		return err
	}
	d.noteKeyset(e, &k)
	clock.Sleep(e.ctx, app.KeysetEvery+app.KeysetEvery/4)
	_, err := fmt.Fprintf(e.stdout, "The key %s is the primary one in %s. Servers that use this file seal with it now.\nSeal what is stored with it too:\n  %s\n", id, file, d.command("keyset reseal"))
	return err
}

type keysetPromoteCmd struct {
	dataFlag
	Key string `arg:"" optional:"" help:"The key. Default: the one that was added last."`
}

// Run promotes a key.
func (c *keysetPromoteCmd) Run(e *env) error {
	k, err := c.keyset(e.ctx)
	if err != nil {
		return err
	}
	id := k.Waiting()
	if c.Key != "" {
		if id, err = callbackd.ParseSealingKey(c.Key); err != nil {
			return err
		}
	}
	if id == 0 {
		return callbackd.Errorf(callbackd.KindConflict, "no key in %s waits to become the primary one; `%s` adds one", k.file, c.command("keyset rotate"))
	}
	return c.promote(e, k.file, id)
}

type keysetResealCmd struct {
	dataFlag
}

// Run seals everything with the primary key.
func (c *keysetResealCmd) Run(e *env) error {
	s, err := c.existing(e.ctx)
	if err != nil {
		return err
	}
	err = c.reseal(e, s)
	return errors.Join(err, s.Close())
}

func (c *keysetResealCmd) reseal(e *env, s store.Store) error {
	primary := s.Keyset().Primary
	bar := progress.New(e.stderr, "", nil)
	defer bar.Clear()
	total, told := int64(0), time.Now()
	counts, err := walk(e.ctx, s, true, bar != nil, func(w *store.SealedWalk) {
		total = w.Total
		line := fmt.Sprintf("%s read, %s sealed with the key %s", humanize.Plural(w.Sealed.Secrets, "secret"), humanize.Number(w.Sealed.Resealed), primary)
		bar.Show(w.Sealed.Secrets, 2*total, line) // all of them are read once more below
		if bar == nil && time.Since(told) >= time.Second {
			told = time.Now()
			fmt.Fprintln(e.stdout, line)
		}
	})
	if counts.Resealed > 0 {
		noted := s.Note(context.WithoutCancel(e.ctx), callbackd.AuditKeysetResealed, primary.String(), nil, callbackd.AuditState{"secrets": counts.Resealed})
		err = errors.Join(err, noted)
	}
	if err != nil {
		return fmt.Errorf("sealed %s with the key %s; start the command again to go on: %w", humanize.Plural(counts.Resealed, "secret"), primary, err)
	}
	// A node that seals with another key, or a change at the same moment, may have left some.
	left, err := walk(e.ctx, s, false, false, func(w *store.SealedWalk) {
		bar.Show(total+w.Sealed.Secrets, 2*total, "reading them again")
	})
	bar.Clear()
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Sealed %s of %s with the key %s.\n", humanize.Number(counts.Resealed), humanize.Plural(counts.Secrets, "secret"), primary)
	printSecretFaults(e.stdout, &left)
	others := left.Secrets - left.ByKey[primary]
	switch {
	case left.FaultN > 0:
		return callbackd.Errorf(callbackd.KindConflict, "left as it was, because it does not open: %s", humanize.Plural(left.FaultN, "secret"))
	case others > 0:
		return callbackd.Errorf(callbackd.KindConflict, "sealed with another key meanwhile: %s; make %s the primary key in the file of every node, and start the command again", humanize.Plural(others, "secret"), primary)
	}
	_, err = fmt.Fprintf(e.stdout, "Nothing in the store needs another key. Remove the replaced ones with:\n  %s\n", c.command("keyset prune"))
	return err
}

func printSecretFaults(w io.Writer, counts *store.SealedCounts) {
	for _, fault := range counts.Faults {
		fmt.Fprintln(w, "FAULT:", fault)
	}
}

type keysetPruneCmd struct {
	dataFlag
	Key    []string `arg:"" optional:"" help:"Keys to remove. Default: all that were added before the primary one."`
	DryRun bool     `help:"Only say what would be removed."`
}

// Run removes keys.
func (c *keysetPruneCmd) Run(e *env) error {
	k, err := c.keyset(e.ctx)
	if err != nil {
		return err
	}
	ids := k.Replaced()
	if len(c.Key) > 0 {
		ids = nil
	}
	for _, text := range c.Key {
		id, err := callbackd.ParseSealingKey(text)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		_, err := fmt.Fprintf(e.stdout, "No key in %s has been replaced; nothing to remove.\n", k.file)
		return err
	}
	counts, err := c.count(e)
	if err != nil {
		return err
	}
	var names []string
	for _, id := range ids {
		if err := k.CheckPrune(id, counts.ByKey, k.nodes); err != nil {
			return err
		}
		names = append(names, id.String())
	}
	if c.DryRun {
		_, err := fmt.Fprintf(e.stdout, "Nothing in the store needs: %s\n", strings.Join(names, " "))
		return err
	}
	if err := seal.Remove(k.file, ids...); err != nil {
		return err
	}
	c.noteKeyset(e, &k)
	_, err = fmt.Fprintf(e.stdout, "Removed from %s: %s\nBackups that were made before `keyset reseal` still need what was removed: keep the keyset that belongs to each of them as long as the backup.\n", k.file, strings.Join(names, " "))
	return err
}

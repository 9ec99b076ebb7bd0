package postgres

import (
	"cmp"
	"maps"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

const (
	selectAnswers = `SELECT o.i, a.digest, a.status, a.answer FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS o (key_no, hash, i)
		CROSS JOIN LATERAL (SELECT digest, status, answer FROM answers WHERE key_no = o.key_no AND hash = o.hash LIMIT 1) a`
	insertAnswers = "INSERT INTO answers (key_no, hash, digest, at, status, answer) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::integer[], $6::bytea[])"
)

// storedAnswer is an answer as its row has it.
type storedAnswer struct {
	core.StoredAnswer
	o *store.Once // of the command that this group runs; nil for one that was read
}

// tokenOf is where the answer of a command is kept.
func tokenOf(o *store.Once) token { return token{o.Key, string(o.Hash)} }

// readAnswers reads the answers that idempotency keys of changes stand for.
func (g *acceptGroup) readAnswers(p *pipeline) {
	var tokens []token
	var keys []int64
	var hashes [][]byte
	for t := range g.answers {
		tokens, keys, hashes = append(tokens, t), append(keys, int64(t.key)), append(hashes, []byte(t.hash))
	}
	if len(tokens) == 0 {
		return
	}
	p.add(selectAnswers, func(row pgx.CollectableRow) error {
		var i int64
		a := &storedAnswer{}
		err := row.Scan(&i, &a.Digest, &a.Status, &a.Sealed)
		if err == nil {
			g.answers[tokens[i-1]] = a
		}
		return err
	}, keys, hashes)
}

// changeOnce runs a change unless its idempotency key has an answer.
func (g *acceptGroup) changeOnce(in *acceptRequest) ([]*callbackd.Event, error) {
	o := in.change.once
	if o == nil {
		return g.changeSession(in)
	}
	if a := g.answers[tokenOf(o)]; a != nil {
		return nil, g.store.Again(o, &a.StoredAnswer)
	}
	events, err := g.changeSession(in)
	if err != nil {
		return nil, err
	}
	o.Made(store.Changed{Session: cmp.Or(in.change.out, in.change.create), Events: events, Callback: in.change.made})
	a, err := g.store.SealAnswer(o)
	if err != nil { // the events are in the group already
		in.refused = err
		return nil, err
	}
	g.answers[tokenOf(o)] = &storedAnswer{*a, o}
	return events, nil
}

// writeAnswers queues the answers of the changes that the group made.
func (g *acceptGroup) writeAnswers(p *pipeline) {
	var keys, ats []int64
	var hashes, digests, sealed [][]byte
	var statuses []int32
	for _, t := range slices.SortedFunc(maps.Keys(g.answers), compareTokens) {
		a := g.answers[t]
		if a == nil || a.o == nil {
			continue
		}
		keys, ats, statuses = append(keys, int64(t.key)), append(ats, millis(a.o.At)), append(statuses, int32(a.Status))
		hashes, digests, sealed = append(hashes, []byte(t.hash)), append(digests, a.Digest), append(sealed, a.Sealed)
	}
	if len(keys) > 0 {
		p.add(insertAnswers, nil, keys, hashes, digests, ats, statuses, sealed)
	}
}

func compareTokens(a, b token) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.hash, b.hash))
}

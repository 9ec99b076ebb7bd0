package postgres

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"

	"github.com/jackc/pgx/v5"
)

// The statements of a node of the version before shards of keys.
const (
	olderInsertNode    = "INSERT INTO nodes (name, address, version, started_at, seen_at) VALUES ('old', 'http://old', '1', 0, " + dbClock + ") RETURNING no"
	olderHeartbeatNode = "UPDATE nodes SET seen_at = " + dbClock + ", in_flight = 0, leaving = false, skew = 0 WHERE no = $1 RETURNING no"
	olderClaimShards   = `WITH free AS MATERIALIZED (SELECT shard FROM shards WHERE node IS NULL ORDER BY shard LIMIT $2)
		UPDATE shards SET node = $1, epoch = epoch + 1 WHERE shard = ANY (ARRAY (SELECT shard FROM free)) RETURNING shard`
	olderSelectNodes = "SELECT no, name, address, version, started_at, " + dbClock + " - seen_at, in_flight, leaving, skew FROM nodes ORDER BY no"
)

// A node of the version before, for which shards were of callbacks, never owns shards at
// the same time as a newer node: it cannot renew its lease, and newer nodes claim nothing
// until they have evicted it. Then it can record nothing and cannot join again.
func TestAnOlderNodeAndANewerOneNeverOwnShardsTogether(t *testing.T) {
	o := Options{URL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
	ctx := t.Context()
	older, err := pgx.Connect(ctx, o.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer older.Close(ctx)
	d := &database{TB: t, Options: o}
	all, err := migrations()
	d.must(err)
	d.must(pgx.BeginFunc(ctx, older, func(tx pgx.Tx) error { return migrateBy(ctx, tx, all[:10]) }))
	var node int64
	d.must(older.QueryRow(ctx, olderInsertNode).Scan(&node))
	d.must(older.QueryRow(ctx, olderHeartbeatNode, node).Scan(&node))
	_, err = older.Exec(ctx, olderClaimShards, node, 100)
	d.must(err)

	s := open(t, o) // upgrades the schema
	defer s.Close()
	newer := d.join(s)
	changes := func(when, sql string, args ...any) {
		t.Helper()
		var row int64
		if err := older.QueryRow(ctx, sql, args...).Scan(&row); !errors.Is(err, pgx.ErrNoRows) {
			t.Errorf("%s: %v, want no row", when, err)
		}
	}
	record := func() error {
		_, err := older.Exec(ctx, requireNode, nodeLocks, node)
		return err
	}
	changes("an older node renews its lease", olderHeartbeatNode, node)
	changes("an older node joins", olderInsertNode)
	if _, err := older.Exec(ctx, olderSelectNodes); err != nil {
		t.Errorf("an older node reads the owners: %v", err)
	}
	d.must(record()) // an attempt that it began while it owned the shard

	claim := func() int {
		t.Helper()
		got, _, err := s.Claim(ctx, newer, callbackd.Shards)
		d.must(err)
		return len(got)
	}
	if n := claim(); n != 0 {
		t.Errorf("while an older node may own shards, a newer one claims %d, want 0", n)
	}
	if evicted, err := s.Evict(ctx, callbackd.NodeID(node), time.Hour); evicted || err != nil {
		t.Errorf("before its lease has expired: evicted %v, %v", evicted, err)
	}
	if evicted, err := s.Evict(ctx, callbackd.NodeID(node), -time.Second); !evicted || err != nil {
		t.Errorf("after its lease has expired: evicted %v, %v", evicted, err)
	}
	if n := claim(); n != callbackd.Shards {
		t.Errorf("after the eviction a newer node claims %d shards, want all", n)
	}
	if err := record(); judge(err, false) != refused {
		t.Errorf("a record of the older node after its eviction: %v, want it refused", err)
	}
	changes("an older node joins after its eviction", olderInsertNode)
	v, err := s.Heartbeat(ctx, store.Heartbeat{ID: newer}, 0)
	d.must(err)
	if !v.Alive || len(v.Nodes) != 1 {
		t.Errorf("the newer node is alive: %v, of %d nodes; want alive and alone", v.Alive, len(v.Nodes))
	}
}

func TestNodesKnowEachOthersInnerAddress(t *testing.T) {
	d, nodes := newDatabase(t, pgtest.URL(t), 2)
	a, err := nodes[0].Join(t.Context(), store.Node{Name: "a", Inner: "http://a:9", StartedAt: time.Now()})
	d.must(err)
	b := d.join(nodes[1])
	v, err := nodes[1].Heartbeat(t.Context(), store.Heartbeat{ID: b}, 0)
	d.must(err)
	got := map[callbackd.NodeID]string{}
	for _, n := range v.Nodes {
		got[n.ID] = n.Inner
	}
	d.equal("inner addresses", got, map[callbackd.NodeID]string{a: "http://a:9", b: ""})
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var _ store.Cluster = (*Store)(nil)

// dbClock is the database's clock in milliseconds. Leases are compared by it,
// and nothing else is.
const dbClock = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

// nodeLocks is the class of the nodes' advisory locks. The number of a lock is the ID of
// the node. A record holds a shared lock of its node. An eviction takes the lock
// exclusively: it waits for records in progress, and no record begins after it.
const nodeLocks = 0x6e6f6465

const (
	// requireNode takes a shared lock of the node, and fails with errCodeEvicted when
	// the node was evicted. So it ends a transaction without a round trip of its own.
	requireNode = "SELECT require_node($1, $2)"
	lockCluster = "UPDATE cluster SET revision = revision + 1 RETURNING revision"

	insertNode    = "INSERT INTO nodes (name, address, version, started_at, inner_address, keyset, counts, seen_at) VALUES ($1, $2, $3, $4, $5, $6, true, " + dbClock + ") RETURNING no"
	heartbeatNode = "UPDATE nodes SET seen_at = " + dbClock + ", in_flight = $2, leaving = $3, skew = $4, keyset = $5 WHERE no = $1 RETURNING no"
	selectClock   = "SELECT " + dbClock + ", revision FROM cluster"
	selectNodes   = "SELECT no, name, address, version, started_at, coalesce(inner_address, ''), coalesce(keyset, ''), " + dbClock + " - seen_at, in_flight, leaving, skew FROM nodes ORDER BY no"
	// selectOwners returns the owner of each shard when the revision is not the
	// one that the caller knows.
	selectOwners = "SELECT shard, node FROM shards WHERE node IS NOT NULL AND (SELECT revision FROM cluster) <> $1"
	// claimShards returns no shard while there is a node of an older version, which
	// has no inner address: its shards are of callbacks and not of keys.
	claimShards = `WITH free AS MATERIALIZED (SELECT shard FROM shards WHERE node IS NULL
			AND NOT EXISTS (SELECT 1 FROM nodes WHERE inner_address IS NULL) ORDER BY shard LIMIT $2)
		UPDATE shards SET node = $1, epoch = epoch + 1 WHERE shard = ANY (ARRAY (SELECT shard FROM free)) RETURNING shard`
	releaseShards = "UPDATE shards SET node = NULL WHERE node = $1 AND shard = ANY ($2::integer[])"
	evictNode     = "DELETE FROM nodes WHERE no = $1 AND seen_at < " + dbClock + " - $2 RETURNING no"
	freeShards    = "UPDATE shards SET node = NULL WHERE node = $1"
	selectShards  = "SELECT shard, node FROM shards WHERE node IS NOT NULL"
	lockNode      = "SELECT pg_advisory_xact_lock($1::integer, ($2::bigint & 2147483647)::integer)"
	// terminateHolders ends the database sessions that hold a node's lock.
	terminateHolders = `SELECT pg_terminate_backend(l.pid) FROM pg_locks l
		WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1::bigint::oid AND l.objid = ($2::bigint & 2147483647)::oid
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND EXISTS (SELECT 1 FROM nodes WHERE no = $2 AND seen_at < ` + dbClock + ` - $3::bigint)`
	// countBacklogs steps from callback to callback through the primary key.
	countBacklogs = `WITH RECURSIVE b (no) AS (
			(SELECT callback_no FROM pending ORDER BY callback_no LIMIT 1)
			UNION ALL
			SELECT (SELECT callback_no FROM pending WHERE callback_no > b.no ORDER BY callback_no LIMIT 1) FROM b WHERE b.no IS NOT NULL)
		SELECT k.key_no, c.n FROM b
		CROSS JOIN LATERAL (SELECT key_no FROM callbacks WHERE no = b.no LIMIT 1) k
		CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM pending WHERE callback_no = b.no ORDER BY event_id LIMIT $1) p) c
		WHERE b.no IS NOT NULL`
)

// fence queues the check that this node has not been evicted. A process that
// is no node of a cluster passes.
func (s *Store) fence(p *pipeline) {
	if node := s.node.Load(); node != 0 {
		p.add(requireNode, nil, nodeLocks, node)
	}
}

// Join is part of [store.Cluster].
func (s *Store) Join(ctx context.Context, n store.Node) (callbackd.NodeID, error) {
	var id int64
	err := s.changeOn(ctx, s.lease, true, func(ctx context.Context, tx pgx.Tx) error {
		// A join whose commit was not answered leaves a row that is evicted later.
		if _, err := tx.Exec(ctx, lockCluster); err != nil {
			return err
		}
		return tx.QueryRow(ctx, insertNode, n.Name, n.Address, n.Version, millis(n.StartedAt), n.Inner, s.Keyset().String()).Scan(&id)
	})
	if err == nil {
		s.node.Store(id)
		s.watching.Do(func() { s.work.Go(s.watchOthers) })
	}
	return callbackd.NodeID(id), err
}

// Heartbeat is part of [store.Cluster].
func (s *Store) Heartbeat(ctx context.Context, b store.Heartbeat, known int64) (v store.ClusterView, err error) {
	err = s.readOn(ctx, s.lease, func(ctx context.Context, conn *pgx.Conn) error {
		v = store.ClusterView{}
		owners, changed := make([]callbackd.NodeID, callbackd.Shards), false
		var p pipeline
		p.add(heartbeatNode, func(pgx.CollectableRow) error { v.Alive = true; return nil }, int64(b.ID), b.InFlight, b.Leaving, b.Skew.Milliseconds(), s.Keyset().String())
		p.add(selectClock, func(row pgx.CollectableRow) error {
			var at int64
			err := row.Scan(&at, &v.Revision)
			v.At = time.UnixMilli(at)
			return err
		})
		p.add(selectNodes, func(row pgx.CollectableRow) error {
			n, err := scanNode(row)
			v.Nodes = append(v.Nodes, n)
			return err
		})
		p.add(selectOwners, func(row pgx.CollectableRow) error {
			var shard, node int64
			err := row.Scan(&shard, &node)
			if err == nil {
				owners[shard], changed = callbackd.NodeID(node), true
			}
			return err
		}, known)
		if err := p.run(ctx, conn); err != nil {
			return err
		}
		if changed || v.Revision != known {
			v.Owners = owners
			count := map[callbackd.NodeID]int{}
			for _, owner := range owners {
				count[owner]++
			}
			for i := range v.Nodes {
				v.Nodes[i].Shards = count[v.Nodes[i].ID]
			}
		}
		return nil
	})
	return v, err
}

func scanNode(row pgx.CollectableRow) (n store.Node, err error) {
	var id, started, unseen, skew int64
	var keyset string
	err = row.Scan(&id, &n.Name, &n.Address, &n.Version, &started, &n.Inner, &keyset, &unseen, &n.InFlight, &n.Leaving, &skew)
	n.ID, n.Heartbeat.ID, n.StartedAt = callbackd.NodeID(id), callbackd.NodeID(id), fromMillis(started)
	n.Keyset = callbackd.ParseKeyset(keyset)
	n.Unseen, n.Skew = time.Duration(unseen)*time.Millisecond, time.Duration(skew)*time.Millisecond
	return n, err
}

// Claim is part of [store.Cluster]. A claim whose commit was not answered is
// seen by the next Heartbeat.
func (s *Store) Claim(ctx context.Context, id callbackd.NodeID, limit int) (got []callbackd.Shard, revision int64, err error) {
	err = s.changeOn(ctx, s.lease, true, func(ctx context.Context, tx pgx.Tx) error {
		got = nil
		var p pipeline
		p.add(lockCluster, scanInto(&revision))
		p.add(requireNode, nil, nodeLocks, int64(id))
		p.add(claimShards, func(row pgx.CollectableRow) error {
			var shard int64
			err := row.Scan(&shard)
			got = append(got, callbackd.Shard(shard))
			return err
		}, int64(id), limit)
		if err := p.run(ctx, tx.Conn()); err != nil {
			return err
		}
		if len(got) == 0 {
			return errUnchanged
		}
		return nil
	})
	return got, revision, changedOrNot(err)
}

// errUnchanged rolls back a transaction that changed no owner. Its new revision would
// make every node read the owners of all shards again.
var errUnchanged = callbackd.Errorf(callbackd.KindConflict, "no shard changed its owner")

func changedOrNot(err error) error {
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

func scanInto(v *int64) func(pgx.CollectableRow) error {
	return func(row pgx.CollectableRow) error { return row.Scan(v) }
}

// Release is part of [store.Cluster].
func (s *Store) Release(ctx context.Context, id callbackd.NodeID, shards []callbackd.Shard) (revision int64, err error) {
	arg := make([]int32, len(shards))
	for i, shard := range shards {
		arg[i] = int32(shard)
	}
	err = s.changeOn(ctx, s.lease, true, func(ctx context.Context, tx pgx.Tx) error {
		var p pipeline
		p.add(lockCluster, scanInto(&revision))
		p.add(releaseShards, nil, int64(id), arg)
		return p.run(ctx, tx.Conn())
	})
	return revision, err
}

// evictGrace is how long Evict waits for a record of an expired node. A node that was
// suspended or cut off during a record would otherwise keep its shards as long as its
// database session lasts.
const evictGrace = 500 * time.Millisecond

// terminateSessions ends the database sessions of an expired node that hold its
// lock.
func (s *Store) terminateSessions(ctx context.Context, id callbackd.NodeID, unseen time.Duration) error {
	conn, err := s.lease.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	_, err = conn.Exec(ctx, terminateHolders, nodeLocks, int64(id), unseen.Milliseconds())
	return err
}

// Evict is part of [store.Cluster].
func (s *Store) Evict(ctx context.Context, id callbackd.NodeID, unseen time.Duration) (evicted bool, err error) {
	err = s.changeOn(ctx, s.lease, true, func(ctx context.Context, tx pgx.Tx) error {
		evicted = false
		var p pipeline
		p.add(lockCluster, nil)
		p.add("SELECT set_config('lock_timeout', $1, true)", nil, fmt.Sprint(evictGrace.Milliseconds()))
		p.add(lockNode, nil, nodeLocks, int64(id))
		p.add(evictNode, func(pgx.CollectableRow) error { evicted = true; return nil }, int64(id), unseen.Milliseconds())
		if err := p.run(ctx, tx.Conn()); err != nil {
			if lockTimedOut(err) {
				return errors.Join(err, s.terminateSessions(ctx, id, unseen))
			}
			return err
		}
		if !evicted {
			return errUnchanged
		}
		_, err := tx.Exec(ctx, freeShards, int64(id))
		return err
	})
	return evicted, changedOrNot(err)
}

// LocalAddr returns the address of this machine on a connection to the database. It is
// the loopback address when both are on one machine.
func (s *Store) LocalAddr(ctx context.Context) (addr netip.Addr, err error) {
	addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	err = s.lease.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		if tcp, ok := c.Conn().PgConn().Conn().LocalAddr().(*net.TCPAddr); ok {
			addr = tcp.AddrPort().Addr().Unmap()
		}
		return nil
	})
	return addr, err
}

// Leave is part of [store.Cluster].
func (s *Store) Leave(ctx context.Context, id callbackd.NodeID) error {
	_, err := s.Evict(ctx, id, -time.Hour)
	return err
}

// Nodes is part of [store.Cluster].
func (s *Store) Nodes(ctx context.Context) (nodes []store.Node, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		nodes = nil
		owners := make([]int64, callbackd.Shards) // 0: no owner
		shares := map[int64]*store.Node{}
		share := func(node int64) *store.Node {
			if shares[node] == nil {
				shares[node] = &store.Node{}
			}
			return shares[node]
		}
		var p pipeline
		p.add(selectNodes, func(row pgx.CollectableRow) error {
			n, err := scanNode(row)
			nodes = append(nodes, n)
			return err
		})
		p.add(selectShards, func(row pgx.CollectableRow) error {
			var shard, node int64
			err := row.Scan(&shard, &node)
			if err == nil {
				owners[shard] = node
				share(node).Shards++
			}
			return err
		})
		p.add(countBacklogs, func(row pgx.CollectableRow) error {
			var key, n int64
			err := row.Scan(&key, &n)
			if err == nil {
				owned := share(owners[callbackd.ShardOf(callbackd.KeyID(key))])
				owned.Callbacks++
				owned.Backlog += n
			}
			return err
		}, store.MaxCounted)
		if err := p.run(ctx, conn); err != nil {
			return err
		}
		for i := range nodes {
			owned := share(int64(nodes[i].ID))
			nodes[i].Shards, nodes[i].Callbacks, nodes[i].Backlog = owned.Shards, owned.Callbacks, owned.Backlog
		}
		return nil
	})
	return nodes, err
}

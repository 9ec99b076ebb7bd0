package postgres

import (
	"context"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

// The statements of messages. A channel's name has at most 63 bytes.
const (
	channels = "SELECT 'callbackd_' || md5(current_schema()) || '_'"
	// postNow keeps messages from waiting for the disk or a standby. A message
	// may be lost when the server crashes.
	postNow = "SELECT set_config('synchronous_commit', 'off', true)"
	postAll = "SELECT pg_notify('callbackd_' || md5(current_schema()) || '_' || o.node, o.body) FROM unnest($1::bigint[], $2::text[]) AS o (node, body)"
)

// Notify is part of [store.Cluster].
func (s *Store) Notify(ctx context.Context, posts []store.Message) error {
	nodes, bodies := make([]int64, len(posts)), make([]string, len(posts))
	for i, post := range posts {
		nodes[i], bodies[i] = int64(post.To), post.Body
	}
	return s.readOn(ctx, s.lease, func(ctx context.Context, conn *pgx.Conn) error {
		var p pipeline
		p.add(postNow, nil)
		p.add(postAll, nil, nodes, bodies)
		return p.run(ctx, conn)
	})
}

// quiet is how long a listener waits on a silent connection before it checks it.
const quiet = 5 * time.Second

// Listen is part of [store.Cluster]. It has a connection of its own.
func (s *Store) Listen(ctx context.Context, id callbackd.NodeID, ready func(), f func(string)) error {
	if err := s.closed(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.life, cancel)
	defer stop()
	conn, err := pgx.ConnectConfig(ctx, s.shared.Config().ConnConfig)
	if err != nil {
		return answer(err, judge(err, false))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	setup, done := context.WithTimeout(ctx, connectTimeout)
	defer done()
	var base string
	if err := conn.QueryRow(setup, channels).Scan(&base); err != nil {
		return answer(err, judge(err, false))
	}
	for _, to := range []callbackd.NodeID{0, id} {
		if _, err := conn.Exec(setup, "LISTEN "+pgx.Identifier{fmt.Sprint(base, int64(to))}.Sanitize()); err != nil {
			return answer(err, judge(err, false))
		}
	}
	ready()
	for {
		wait, done := context.WithTimeout(ctx, quiet)
		n, err := conn.WaitForNotification(wait)
		timedOut := wait.Err() != nil && ctx.Err() == nil
		done()
		switch {
		case err == nil:
			f(n.Payload)
		case timedOut && !conn.IsClosed():
			ping, done := context.WithTimeout(ctx, connectTimeout)
			err := conn.Ping(ping)
			done()
			if err != nil {
				return fmt.Errorf("the database does not answer: %w", err)
			}
		default:
			return fmt.Errorf("messages cannot be received: %w", err)
		}
	}
}

// watchEvery is how often a node looks for events that other nodes accepted, while it has
// watchers.
const watchEvery = 250 * time.Millisecond

// watchOthers notifies the watchers of a key when another node accepts an event.
func (s *Store) watchOthers() {
	newest := map[callbackd.KeyID]int64{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.closing:
			return
		}
		keys := s.hub.Watched()
		if len(keys) == 0 {
			clear(newest)
			continue
		}
		now, err := s.newestOf(s.life, keys)
		if err != nil {
			continue // watchers also read without a notification, only later
		}
		for key, id := range now {
			if newest[key] != id { // also the first time: the event may have come after the watcher's last read
				s.hub.Changed(key)
			}
		}
		newest = now
	}
}

const selectNewestOf = `SELECT k.no, e.id FROM unnest($1::bigint[]) AS k (no)
	CROSS JOIN LATERAL (SELECT id FROM events WHERE key_no = k.no ORDER BY key_no DESC, id DESC LIMIT 1) e`

func (s *Store) newestOf(ctx context.Context, keys []callbackd.KeyID) (out map[callbackd.KeyID]int64, err error) {
	arg := make([]int64, len(keys))
	for i, key := range keys {
		arg[i] = int64(key)
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		out = make(map[callbackd.KeyID]int64, len(keys))
		return each(ctx, conn, selectNewestOf, func(row pgx.CollectableRow) error {
			var key, id int64
			err := row.Scan(&key, &id)
			out[callbackd.KeyID(key)] = id
			return err
		}, arg)
	})
	return out, err
}

package doctor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

// leastServer is the oldest version of PostgreSQL that callbackd works on.
const leastServer = 15

func checkStore(_ context.Context, p *patient) (found []Finding) {
	s := &p.survey
	if s.Server != nil {
		found = server(p, s.Server)
	}
	const again = "Do what the message says, and run this command again: what needs the store was not checked."
	switch {
	case p.surveyErr != nil:
		return append(found, problem(again, "%v", p.surveyErr))
	case !s.Made:
		return orOK(found, "there is none yet; the first start makes it")
	case s.Schema < s.Program:
		return append(found, warning("Make a backup, and start a server of this version: it upgrades the store. Then run this command again.", "an older callbackd wrote the store (schema %d, this one needs %d)", s.Schema, s.Program))
	case p.openErr != nil:
		return append(found, problem(again, "%v", p.openErr))
	case p.readErr != nil:
		found = append(found, problem("Look at the other findings first, then at `callbackd fsck`.", "the store cannot be read: %v", p.readErr))
	}
	if s.Server != nil {
		return orOK(found, "PostgreSQL %d.%d, schema %d", s.Server.Version/10_000, s.Server.Version%10_000, s.Schema)
	}
	return orOK(found, "it opens, schema %d", s.Schema)
}

// server is about the settings of PostgreSQL.
func server(p *patient, s *store.ServerSurvey) (found []Finding) {
	if v := s.Version / 10_000; v < leastServer {
		found = append(found, problem(fmt.Sprintf("Upgrade it to PostgreSQL %d or later.", leastServer), "the server is PostgreSQL %d", v))
	}
	for _, name := range []string{"fsync", "full_page_writes"} {
		if s.Settings[name] == "off" {
			found = append(found, problem("Set "+name+" = on in postgresql.conf, and reload.", "%s is off in PostgreSQL: a power cut can damage the database and lose what was acknowledged", name))
		}
	}
	if c := s.Settings["synchronous_commit"]; c == "off" || c == "local" {
		found = append(found, warning("Set synchronous_commit = on for the server and for the role (ALTER ROLE … RESET synchronous_commit).", "synchronous_commit is %s in PostgreSQL; callbackd sets it to on for its own connections, and a pooler may not keep that", c))
	}
	if s.Settings["autovacuum"] == "off" {
		found = append(found, problem("Set autovacuum = on in postgresql.conf, and reload.", "autovacuum is off in PostgreSQL: the table of pending deliveries grows without end"))
	}
	if nodes := max(1, len(p.live())); s.Connections < nodes*p.NodeConnections {
		found = append(found, problem("Raise max_connections, or the role's CONNECTION LIMIT, or stop other programs.", "PostgreSQL leaves %s for callbackd, and %s use up to %d", humanize.Plural(s.Connections, "connection"), humanize.Plural(nodes, "node"), nodes*p.NodeConnections))
	}
	return found
}

func checkKeyset(_ context.Context, p *patient) (found []Finding) {
	if !p.opened || len(p.keys.Keys) == 0 {
		return nil
	}
	if p.walkErr != nil {
		return []Finding{problem("Look at the other findings first.", "the secrets in the store cannot be read: %v", p.walkErr)}
	}
	const restore = "Put the file back that has it: from another node, or from the backup of the keyset. A running server reads it again within seconds."
	missing := int64(0)
	for _, id := range slices.Sorted(maps.Keys(p.sealed.ByKey)) {
		if n := p.sealed.ByKey[id]; !p.keys.Has(id) {
			missing += n
			found = append(found, problem(restore, "the key %s has sealed %s in the store, and %s does not have it", id, humanize.Plural(n, "secret"), p.Keyset))
		}
	}
	if other := p.sealed.FaultN - missing; other > 0 {
		found = append(found, problem("`callbackd fsck` names them. Put the right keyset back; if it is in place, the rows are damaged.", "the keyset does not open %s in the store", humanize.Plural(other, "secret")))
	}
	for _, n := range p.live() {
		if n.Keyset.Primary != 0 && !n.Keyset.Has(p.keys.Primary) {
			found = append(found, problem("Copy the keyset file to that node.", "the node %s lacks the key %s, which seals here", n.Name, p.keys.Primary))
		}
	}
	if id := p.keys.Waiting(); id != 0 {
		found = append(found, warning("Go on as docs/howto/rotate-the-keys-that-seal-secrets.md says: `callbackd keyset promote`.", "the key %s was added and is not the primary one yet", id))
	}
	if p.partly {
		return orOK(found, "only a part was opened (%s); `callbackd fsck` opens all", humanize.Plural(p.sealed.Secrets, "secret"))
	}
	return orOK(found, "it opens all secrets in the store (%s)", humanize.Number(p.sealed.Secrets))
}

// shownFaults is how many faults of the audit log are spelled out.
const shownFaults = 3

func checkAudit(_ context.Context, p *patient) (found []Finding) {
	if !p.opened {
		return nil
	}
	if p.auditErr != nil {
		return []Finding{problem("Look at the other findings first, then at `callbackd audit verify`.", "the audit log cannot be verified: %v", p.auditErr)}
	}
	entries := humanize.Number(p.audit.Entries)
	const remedy = "Somebody changed the database by other means than callbackd, or a page of it is damaged. `callbackd audit verify` prints all faults; compare with a backup from before, and keep both. docs/howto/see-who-changed-what.md has the rest."
	for i, fault := range p.audit.Faults {
		if i == shownFaults {
			break
		}
		found = append(found, problem(remedy, "%s", fault))
	}
	if more := p.audit.FaultN - int64(len(found)); more > 0 {
		found = append(found, problem(remedy, "the audit log has %s more", humanize.Plural(more, "fault")))
	}
	if p.audit.Partly {
		return append(found, ok("only some of its entries (%s) were verified within %s, in the order of API keys; `callbackd audit verify` verifies all", entries, humanize.Duration(walkTime)))
	}
	return orOK(found, "all of its entries (%s) were verified: none was changed, added or removed", entries)
}

// Clocks. Signatures are refused at a difference of five minutes (PAVE), and certificates
// and leases need the time too.
const (
	skewNoticed = 10 * time.Second
	// builtAfter is before any program of this version ran.
	builtAfter = 2026
)

func checkClock(_ context.Context, p *patient) (found []Finding) {
	now := p.Now()
	const remedy = "Synchronize the clocks (NTP: chrony, systemd-timesyncd), of the database's machine too."
	if now.Year() < builtAfter {
		found = append(found, problem(remedy, "the clock of this machine shows %s", humanize.Time(now)))
	}
	if p.survey.Server != nil && p.surveyErr == nil {
		how := "ahead of"
		if p.survey.Ahead < 0 {
			how = "behind"
		}
		switch ahead := p.survey.Ahead.Abs(); {
		case ahead > callbackd.MaxSkew:
			found = append(found, problem(remedy, "the clock of this machine is %s %s that of the database: this node owns no shards", humanize.Duration(ahead), how))
		case ahead > skewNoticed:
			found = append(found, warning(remedy, "the clock of this machine is %s %s that of the database", humanize.Duration(ahead), how))
		}
	}
	if future := p.survey.Newest.Sub(now); !p.survey.Newest.IsZero() && future > callbackd.MaxSkew {
		found = append(found, problem(remedy+" If it is right now, it was wrong when the event was accepted, and nothing needs to be done.", "the newest event in the store is %s in the future (%s): the clock of this machine is wrong, or was", humanize.Duration(future), humanize.Time(p.survey.Newest)))
	}
	if is, known := p.Synchronized(); known && !is {
		found = append(found, warning("Run a service that keeps the clock right (chrony, systemd-timesyncd). In a container or a virtual machine the host may do so.", "the kernel says that its clock is not synchronized"))
	}
	return orOK(found, "it shows %s, and nothing speaks against that", humanize.Time(now))
}

// live returns the nodes that have renewed their lease in time.
func (p *patient) live() (live []store.Node) {
	for _, n := range p.nodes {
		if n.Unseen <= p.Lease {
			live = append(live, n)
		}
	}
	return live
}

func checkNodes(ctx context.Context, p *patient) (found []Finding) {
	if !p.Database || !p.opened {
		return nil
	}
	live := p.live()
	byInner, versions := map[string][]store.Node{}, map[string]bool{}
	hosts := map[string]bool{}
	for _, n := range live {
		versions[n.Version], hosts[n.Name] = true, true
		if n.Inner != "" {
			byInner[n.Inner] = append(byInner[n.Inner], n)
		}
		if n.Skew.Abs() > callbackd.MaxSkew {
			found = append(found, problem("Synchronize the clock of its machine (NTP).", "the clock of the node %s differs from the database's by %s: it owns no shards", n.Name, humanize.Duration(n.Skew.Abs())))
		}
	}
	for _, inner := range slices.Sorted(maps.Keys(byInner)) {
		found = append(found, p.inner(ctx, inner, byInner[inner], len(hosts) > 1)...)
	}
	if len(versions) > 1 {
		found = append(found, warning("Finish the upgrade on all nodes.", "nodes of several versions run: %s", strings.Join(slices.Sorted(maps.Keys(versions)), ", ")))
	}
	return orOK(found, "%s", humanize.Plural(len(live), "node")+" on the database")
}

// inner is about an address at which nodes say that other nodes reach them. several reports
// whether there are nodes on other machines.
func (p *patient) inner(ctx context.Context, address string, nodes []store.Node, several bool) []Finding {
	if len(nodes) > 1 {
		var names []string
		for _, n := range nodes {
			names = append(names, fmt.Sprintf("%d (%s)", n.ID, n.Name))
		}
		return []Finding{problem("Give each node an address of its own with --node-listen or --node-address. If one of them was just killed and started again, run this command again in a minute.", "the nodes %s all say that they are reached at %s: calls between nodes go to the wrong one", strings.Join(names, ", "), address)}
	}
	host, _, err := net.SplitHostPort(address)
	if ip, err2 := netip.ParseAddr(host); err == nil && err2 == nil && ip.IsLoopback() && several {
		return []Finding{problem("Name an address that the other machines reach with --node-listen, such as 10.0.0.5:8081.", "the node %s is reached at %s only, which is this machine for each machine", nodes[0].Name, address)}
	}
	conn, err := p.Dial(ctx, "tcp", address)
	if err != nil {
		return []Finding{warning("Open the port between the nodes, or name the right address with --node-listen or --node-address. Calls are answered meanwhile, by the node that gets them.", "the node %s cannot be reached from here at %s: %v", nodes[0].Name, address, err)}
	}
	conn.Close()
	return nil
}

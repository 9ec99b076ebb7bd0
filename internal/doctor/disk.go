package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"callbackd/internal/humanize"
)

// Free space of the volume of a data directory, in bytes and in files. Below leastSpace a
// server soon refuses events: it reserves 12 MiB and needs some more for its log.
const (
	leastSpace = 64 << 20
	littleRoom = 1 << 30
	leastNodes = 16
)

// dataFiles are the files of a data directory that hold what its customers gave, and the
// keys to it.
var dataFiles = []string{"callbackd.db", "callbackd.db-wal", "callbackd.db-shm", "callbackd.lock", "callbackd.reserve"}

// existing returns the path, or the nearest folder above it that exists.
func existing(m *Machine, path string) string {
	path, err := filepath.Abs(path)
	for err == nil {
		if _, err := m.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}

func checkDisk(_ context.Context, p *patient) []Finding {
	if p.Database {
		return []Finding{ok("a node on PostgreSQL stores nothing on this machine")}
	}
	at := existing(p.Machine, p.Data)
	v, err := p.Volume(at)
	if err != nil {
		return []Finding{problem("Make the data directory readable for this user, or name another one with --data.", "the volume of %s cannot be read: %v", p.Data, err)}
	}
	var found []Finding
	const room = "Make room, enlarge the volume, or shorten --retention. On a full disk publishers get 503, and what was accepted is still delivered."
	free := humanize.Size(int64(v.Free))
	switch {
	case v.Free < leastSpace:
		found = append(found, problem(room, "only %s are free on the volume of %s: events are refused now or soon", free, p.Data))
	case v.Free < littleRoom:
		found = append(found, warning(room, "%s are free on the volume of %s", free, p.Data))
	}
	if v.Nodes < leastNodes {
		found = append(found, problem("Remove files from the volume, or use another one.", "no more than %d files can be made on the volume of %s", v.Nodes, p.Data))
	}
	switch v.Kind {
	case Network:
		found = append(found, problem("Move the data directory to a local disk, or use PostgreSQL (`callbackd move`).", "%s is on a network file system (%s), whose locks and syncs SQLite cannot rely on: the database can be damaged", p.Data, v.Name))
	case Foreign:
		found = append(found, warning("Make sure that it is a local disk. Otherwise move the data directory to one.", "%s is on a file system of a user program (%s), which may be a network", p.Data, v.Name))
	case Memory:
		found = append(found, warning("For anything but a trial name a folder on a disk with --data.", "%s is in memory (%s): everything is lost when the machine stops", p.Data, v.Name))
	case Layer:
		found = append(found, warning("In a container mount a volume at the data directory.", "%s is in the writable layer of a container (%s): everything is lost with the container", p.Data, v.Name))
	}
	return orOK(found, "%s are free on the volume of %s", free, p.Data)
}

func checkArchive(_ context.Context, p *patient) []Finding {
	if p.Archive == "" {
		return []Finding{ok("what retention removes is not archived: there is no --archive")}
	}
	at := existing(p.Machine, p.Archive)
	if f, err := p.Stat(at); err == nil && !f.Mode.IsDir() {
		return []Finding{problem("Name a folder with --archive.", "%s is not a folder: nothing is archived, and retention waits", at)}
	}
	var found []Finding
	if err := p.Access(at); err != nil {
		found = append(found, problem("Give the directory to the user of the server (chown), mount its volume writable, or run this command as that user.", "user ID %d may not write to the archive %s, so retention waits: %v", p.UID, p.Archive, err))
	}
	v, err := p.Volume(at)
	if err != nil {
		return append(found, problem("Make the directory readable for this user, or name another one with --archive.", "the volume of the archive %s cannot be read: %v", p.Archive, err))
	}
	free := humanize.Size(int64(v.Free))
	switch {
	case v.Free < leastSpace:
		found = append(found, problem("Make room, enlarge the volume, or move older files of the archive elsewhere, with their manifests.", "only %s are free on the volume of the archive %s: when it is full, retention waits", free, p.Archive))
	case v.Free < littleRoom:
		found = append(found, warning("Make room, enlarge the volume, or move older files of the archive elsewhere, with their manifests.", "%s are free on the volume of the archive %s", free, p.Archive))
	}
	return orOK(found, "%s are free on the volume of the archive %s", free, p.Archive)
}

// othersBits are the rights of users that are neither the owner nor in the group.
const othersBits = 0o007

func checkPermissions(_ context.Context, p *patient) []Finding {
	var found []Finding
	if !p.Database {
		dir, err := p.Stat(p.Data)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found = append(found, newDirectory(p))
		case err != nil:
			found = append(found, problem("Run the command as the user of the server.", "the data directory cannot be read: %v", err))
		case !dir.Mode.IsDir():
			found = append(found, problem("Name a folder with --data.", "%s is not a folder", p.Data))
		default:
			found = append(found, directory(p, dir)...)
		}
	}
	found = append(found, keysetFile(p)...)
	return orOK(found, "files are readable and writable for this user (ID %d), and not for others", p.UID)
}

// newDirectory is about a data directory that does not exist.
func newDirectory(p *patient) Finding {
	above := existing(p.Machine, p.Data)
	if err := p.Access(above); err != nil {
		return problem("Make the directory for the user of the server, or name another one with --data.", "%s does not exist, and user ID %d cannot make it: %v", p.Data, p.UID, err)
	}
	return warning("`callbackd serve` makes it. If there is one already, name it with --data or CALLBACKD_DATA.", "there is no data directory %s yet", p.Data)
}

// directory is about a data directory and its files.
func directory(p *patient, dir File) (found []Finding) {
	if err := p.Access(p.Data); err != nil {
		found = append(found, problem("Give the directory to the user of the server (chown), mount its volume writable, or run this command as that user.", "user ID %d may not write to the data directory: %v", p.UID, err))
	}
	for _, name := range dataFiles {
		path := filepath.Join(p.Data, name)
		f, err := p.Stat(path)
		if err != nil {
			continue // it is made, or checkStore says what is missing
		}
		if f.Mode.Perm()&othersBits != 0 && name != "callbackd.lock" && name != "callbackd.reserve" {
			found = append(found, problem("chmod 600 "+path, "%s has the mode %04o: every user of this machine can read what customers sent", path, f.Mode.Perm()))
		}
		if f.Owner != dir.Owner {
			found = append(found, problem("Give all files of the directory to the user of the server: chown -R USER "+p.Data, "%s belongs to user ID %d, and its directory to %d", path, f.Owner, dir.Owner))
		} else if err := p.Access(path); err != nil {
			found = append(found, problem("Run this command as the user of the server, or give that user the file (chown, chmod 600).", "user ID %d may not read and write %s: %v", p.UID, path, err))
		}
	}
	return found
}

// keysetFile is about the file with the keys that seal secrets. Only a command changes it, so
// it may be read-only.
func keysetFile(p *patient) (found []Finding) {
	f, err := p.Stat(p.Keyset)
	if err != nil {
		return nil // checkStore says when it is missing and needed
	}
	if f.Mode.Perm()&othersBits != 0 {
		found = append(found, problem("chmod 600 "+p.Keyset+". Somebody may have copied it: replace its keys as docs/howto/rotate-the-keys-that-seal-secrets.md says.", "the keyset %s has the mode %04o: every user of this machine can open every secret", p.Keyset, f.Mode.Perm()))
	}
	file, err := os.Open(p.Keyset)
	if err != nil {
		return append(found, problem("Give the file to the user of the server, or run this command as that user.", "the keyset cannot be read by user ID %d: %v", p.UID, err))
	}
	file.Close()
	return found
}

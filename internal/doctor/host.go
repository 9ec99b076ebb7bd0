package doctor

import (
	"context"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
)

// Open files: each attempt and each client has one, and the store some.
const (
	leastDescriptors = 1024
	spareDescriptors = 1024 // for clients, the store and the log
)

func checkDescriptors(_ context.Context, p *patient) []Finding {
	if f := p.descriptors(p.Descriptors, "this process"); f != nil {
		return []Finding{*f}
	}
	return []Finding{ok("this process may open enough")}
}

// descriptors is about a limit of open files.
func (p *patient) descriptors(n uint64, who string) *Finding {
	const remedy = "Set LimitNOFILE=65536 in the systemd unit, or ulimit -n 65536. Or lower --max-in-flight."
	want := uint64(p.MaxInFlight) + spareDescriptors
	var f Finding
	switch {
	case n < leastDescriptors:
		f = problem(remedy, "%s may open %d files: clients and deliveries are refused when it is busy", who, n)
	case n < want:
		f = warning(remedy, "%s may open %d files; --max-in-flight %d and clients need %d", who, n, p.MaxInFlight, want)
	default:
		return nil
	}
	return &f
}

// littleMemory is the least that a container should have, in bytes.
const littleMemory = 512 << 20

func checkMemory(_ context.Context, p *patient) []Finding {
	var found []Finding
	limit := humanize.Size(p.Memory)
	switch {
	case p.Memory == 0:
		return []Finding{ok("no control group limits it")}
	case p.Memory < littleMemory:
		found = append(found, warning("Give the container or unit 512 MiB or more.", "the control group limits it to %s", limit))
	}
	if p.GoMemory != math.MaxInt64 && p.GoMemory > p.Memory/10*9 {
		found = append(found, problem("Unset GOMEMLIMIT, and callbackd takes three quarters of the limit by itself. Or set it to that.", "GOMEMLIMIT is %s and the limit of the control group %s: the kernel kills the process before Go frees memory", humanize.Size(p.GoMemory), limit))
	}
	return orOK(found, "the control group limits it to %s, which is enough", limit)
}

// unitNames are the units of deploy/systemd.
var unitNames = []string{"callbackd.service", "callbackd@.service"}

func checkUnits(_ context.Context, p *patient) []Finding {
	var found []Finding
	var there []string
	for _, name := range unitNames {
		if file, u := p.unit(name); u != nil {
			there = append(there, file)
			found = append(found, p.checkUnit(file, u)...)
		}
	}
	if len(there) == 0 {
		return []Finding{ok("no unit of callbackd is installed")}
	}
	return orOK(found, "%s fits", strings.Join(there, ", "))
}

// unit is a unit with its drop-ins: the values of each key, in order.
type unit map[string][]string

// last returns the value that counts of a key with one value.
func (u unit) last(key string) string {
	if v := u[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// words returns the words of all values of a key that is a list.
func (u unit) words(key string) (out []string) {
	for _, v := range u[key] {
		for _, w := range strings.Fields(v) {
			out = append(out, strings.Trim(w, `"'`))
		}
	}
	return out
}

// unit reads a unit from the first folder that has it, and its drop-ins from all.
func (p *patient) unit(name string) (file string, u unit) {
	for _, dir := range p.Units {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			file = filepath.Join(dir, name)
			break
		}
	}
	if file == "" {
		return "", nil
	}
	u = unit{}
	u.read(file)
	for _, dir := range slices.Backward(p.Units) {
		drops, _ := filepath.Glob(filepath.Join(dir, name+".d", "*.conf")) // the pattern is valid
		for _, drop := range drops {
			u.read(drop)
		}
	}
	return file, u
}

// read adds the keys of a file. What cannot be read is left out.
func (u unit) read(file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for line := range strings.Lines(strings.ReplaceAll(string(raw), "\\\n", " ")) {
		line = strings.TrimSpace(line)
		key, value, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(strings.ReplaceAll(value, "%S", "/var/lib"))
		if value == "" { // empties the list
			delete(u, key)
			continue
		}
		u[key] = append(u[key], value)
	}
}

// setting returns the value that a unit gives to an option of serve, or to its variable.
func (u unit) setting(option, variable string) (value string) {
	for _, w := range u.words("Environment") {
		if v, ok := strings.CutPrefix(w, variable+"="); ok {
			value = v
		}
	}
	for _, file := range u.words("EnvironmentFile") {
		env := unit{}
		env.read(strings.TrimPrefix(file, "-"))
		if v := env.last(variable); v != "" {
			value = strings.Trim(v, `"'`)
		}
	}
	words := u.words("ExecStart")
	for i, w := range words {
		if v, ok := strings.CutPrefix(w, option+"="); ok {
			value = v
		} else if w == option && i+1 < len(words) {
			value = words[i+1]
		}
	}
	return value
}

func (p *patient) checkUnit(file string, u unit) (found []Finding) {
	if n, err := strconv.ParseUint(strings.Split(u.last("LimitNOFILE"), ":")[0], 10, 64); err == nil {
		if f := p.descriptors(n, "the server of "+file); f != nil {
			found = append(found, *f)
		}
	}
	grace := p.Grace
	if d, err := callbackd.ParseDuration(u.setting("--grace", "CALLBACKD_GRACE")); err == nil {
		grace = d
	}
	if stop, ok := seconds(u.last("TimeoutStopSec")); ok && stop <= grace {
		found = append(found, warning("Set TimeoutStopSec= to more than --grace.", "%s kills the server %s after a stop began, and --grace is %s: attempts in flight are made again", file, callbackd.FormatDuration(stop), callbackd.FormatDuration(grace)))
	}
	if u.setting("--database-url", "CALLBACKD_DATABASE_URL") != "" || u.setting("", "CALLBACKD_DATABASE_URL_FILE") != "" {
		return found
	}
	return append(found, u.dataDirectory(file)...)
}

// seconds reads a span of systemd that is a number of seconds, or that Go reads too.
func seconds(s string) (time.Duration, bool) {
	if n, err := strconv.Atoi(s); err == nil {
		return time.Duration(n) * time.Second, n > 0
	}
	d, err := time.ParseDuration(strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "min", "m"))
	return d, err == nil && d > 0
}

// forbids returns the setting that keeps the service from writing to a directory; empty: there is
// none.
func (u unit) forbids(dir string) string {
	under := func(roots ...string) bool {
		return slices.ContainsFunc(roots, func(root string) bool { return inside(dir, root) })
	}
	is := func(value string, of ...string) bool { return slices.Contains(of, value) }
	home, system := u.last("ProtectHome"), u.last("ProtectSystem")
	switch {
	case !is(home, "", "no", "false") && under("/home", "/root", "/run/user"):
		return "ProtectHome=" + home
	case system == "strict":
		return "ProtectSystem=strict"
	case system == "full" && under("/etc"), is(system, "yes", "true", "full") && under("/usr", "/boot"):
		return "ProtectSystem=" + system
	case is(u.last("DynamicUser"), "yes", "true"):
		return "DynamicUser=yes"
	}
	return ""
}

// dataDirectory is about whether a unit lets its server write to its data directory.
func (u unit) dataDirectory(file string) []Finding {
	dir := u.setting("--data", "CALLBACKD_DATA")
	if dir == "" {
		dir = "callbackd-data"
	}
	if !path.IsAbs(dir) {
		dir = path.Join("/", u.last("WorkingDirectory"), dir)
	}
	if strings.Contains(dir, "%") { // a specifier that is not read here
		return nil
	}
	for _, writable := range u.writable() {
		if inside(dir, writable) {
			return nil
		}
	}
	reason := u.forbids(dir)
	if reason == "" {
		return nil
	}
	return []Finding{problem("Add StateDirectory=callbackd and Environment=CALLBACKD_DATA=%S/callbackd, as deploy/systemd/callbackd.service does, or ReadWritePaths="+dir+".", "%s does not let the server write to its data directory %s (%s)", file, dir, reason)}
}

// writable returns the folders that a unit makes writable.
func (u unit) writable() (dirs []string) {
	for _, d := range u.words("StateDirectory") {
		name, _, _ := strings.Cut(d, ":")
		dirs = append(dirs, path.Join("/var/lib", name))
	}
	for _, d := range u.words("ReadWritePaths") {
		dirs = append(dirs, strings.TrimLeft(d, "-+"))
	}
	return dirs
}

func inside(dir, folder string) bool {
	folder = strings.TrimSuffix(folder, "/")
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}

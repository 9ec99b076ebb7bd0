package storetest

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// hashes matches the hashes of secrets.
var hashes = regexp.MustCompile("hmac-sha256:[0-9a-f]+")

// options returns the options of a server from names and values, which follow each other.
func options(texts ...string) (out []callbackd.ServerOption) {
	for i := 0; i < len(texts); i += 2 {
		out = append(out, callbackd.ServerOption{Name: texts[i], Value: callbackd.Secret(texts[i+1]), Secret: texts[i] == "operator-token"})
	}
	return out
}

// auditedOptions checks that a start leaves an entry when its options are others than those
// of the last start on the machine, or of the server whose options changed last.
func (s *suite) auditedOptions() {
	const token = "a hidden operator token"
	first := options("archive", "", "operator-token", token, "retention", "30d")
	later := options("archive", "/var/archive", "operator-token", token, "retention", "30d")
	last := options("archive", "/var/archive", "operator-token", "another hidden token", "retention", "30d")
	for i, start := range []struct {
		server  string
		options []callbackd.ServerOption
		audited string // the members before and after; empty when there is no entry
	}{
		{"a", first, `{"operator-token":"hmac","retention":"30d"}`},
		{"a", first, ""},
		{"b", first, ""}, // another machine with the same options
		{"a", later, `{}{"archive":"/var/archive"}`},
		{"b", first, ""}, // it is compared with itself
		{"c", later, ""}, // a new machine is compared with the newest options
		{"b", later, `{}{"archive":"/var/archive"}`},
		{"c", last, `{"operator-token":"hmac"}{"operator-token":"hmac"}`},
		{"a", first, `{"archive":"/var/archive"}{}`},
	} {
		before := s.optionEntries()
		s.must(s.NoteOptions(s.ctx(), start.server, start.options, s.at.Add(time.Duration(i)*time.Minute)))
		s.must(s.NoteOptions(s.ctx(), start.server, start.options, s.at.Add(time.Duration(i)*time.Minute))) // the entry could not be written at once
		entries := s.optionEntries()[len(before):]
		what := fmt.Sprintf("start %d, of %s", i+1, start.server)
		if start.audited == "" {
			s.equal("entries of "+what, len(entries), 0)
			continue
		}
		if len(entries) != 1 {
			s.Fatalf("%s leaves %d entries, want 1", what, len(entries))
		}
		text := string(entries[0].Before) + string(entries[0].After)
		if strings.Contains(text, "hidden") {
			s.Errorf("a secret is in %s", text)
		}
		s.equal(what, hashes.ReplaceAllString(text, "hmac"), start.audited)
		s.equal("the subject of "+what, entries[0].Subject, start.server)
		s.reopen()
	}
	s.must(s.Note(s.ctx(), callbackd.AuditLogLevelChanged, "a", callbackd.AuditState{"log_level": "info"}, callbackd.AuditState{"log_level": "debug"}))
	entries := s.audited(store.AuditQuery{Action: callbackd.AuditLogLevelChanged})
	s.equal("the entry of the log level", string(entries[0].Before)+string(entries[0].After), `{"log_level":"info"}{"log_level":"debug"}`)
	s.equal("faults", s.verify(), []string(nil))
}

func (s *suite) optionEntries() []callbackd.AuditEntry {
	return s.audited(store.AuditQuery{Action: callbackd.AuditOptionsChanged})
}

// forgottenServers starts more servers than the store remembers. The oldest one is then
// compared with the newest.
func (s *suite) forgottenServers() {
	s.must(s.NoteOptions(s.ctx(), "oldest", options("grace", "1s"), s.at))
	for i := range callbackd.MaxServers {
		s.must(s.NoteOptions(s.ctx(), fmt.Sprint("machine ", i), options("grace", "2s"), s.at.Add(time.Duration(i+1)*time.Second)))
	}
	s.equal("entries", len(s.optionEntries()), 2)
	s.must(s.NoteOptions(s.ctx(), "oldest", options("grace", "2s"), s.at.Add(time.Hour)))
	s.equal("entries after a start of the one that was forgotten", len(s.optionEntries()), 2)
	s.must(s.NoteOptions(s.ctx(), "machine 900", options("grace", "3s"), s.at.Add(2*time.Hour)))
	s.equal("entries after one that was not", len(s.optionEntries()), 3)
}

package callbackd

// ServerOption is an option with which a server was started.
type ServerOption struct {
	Name   string
	Value  Secret // masked when it is printed, because it may have a password
	Source string // where the value comes from, such as "command line"
	Secret bool   // the value is shown to nobody
}

// Shown returns the value as people may see it.
func (o *ServerOption) Shown() string {
	if o.Secret && o.Value != "" {
		return Mask
	}
	return o.Value.Reveal()
}

// OptionsAuditState returns what the audit log shows of the options of a server: those that
// have a value, also by default. Secrets are hashes.
func OptionsAuditState(options []ServerOption, digest func(string) string) AuditState {
	s := AuditState{}
	for _, o := range options {
		if o.Secret {
			s.setSecret(o.Name, o.Value, digest)
		} else {
			s.set(o.Name, auditText(o.Value.Reveal()))
		}
	}
	return s
}

// MaxServers is of how many machines the store remembers the options. It forgets those
// whose options changed longest ago, so that machines whose names are never used again do
// not fill it.
const MaxServers = 1000

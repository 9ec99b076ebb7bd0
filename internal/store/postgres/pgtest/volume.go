package pgtest

// StartIn starts a server as Start does, with its data in a new folder within folder: a small
// volume, for example.
func StartIn(folder string, settings ...string) (*Server, error) { return start(folder, settings...) }

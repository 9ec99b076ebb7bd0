package view

import (
	"callbackd"
	"callbackd/wire"
)

// Setting returns an option of the server. Secrets are masked.
func Setting(o *callbackd.ServerOption) wire.Setting {
	return wire.Setting{Name: o.Name, Value: o.Shown(), Source: o.Source}
}

// Settings returns the options of the server. Secrets are masked.
func Settings(options []callbackd.ServerOption) []wire.Setting {
	out := make([]wire.Setting, len(options))
	for i := range options {
		out[i] = Setting(&options[i])
	}
	return out
}

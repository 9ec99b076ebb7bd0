package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"callbackd"
	"callbackd/internal/store/seal"
)

// noteKeyset writes an entry about a change of the keyset file to the audit log. The file has
// changed by then, and may be used before there is a store, so a failure is only told.
func (d *dataFlag) noteKeyset(e *env, before *keyset) {
	if err := d.auditKeyset(e, before); err != nil {
		fmt.Fprintln(e.stderr, "callbackd: the audit log does not have this change of the keyset:", err)
	}
}

func (d *dataFlag) auditKeyset(e *env, before *keyset) error {
	after, err := seal.List(before.file)
	if err != nil {
		return err
	}
	file, err := filepath.Abs(before.file)
	if err != nil {
		return err
	}
	s, err := d.existing(e.ctx)
	if err != nil {
		return err
	}
	err = s.Note(e.ctx, callbackd.AuditKeysetChanged, file, callbackd.AuditState{"keys": before.Keyset.String()}, callbackd.AuditState{"keys": after.String()})
	return errors.Join(err, s.Close())
}

package callbackd_test

import (
	"strings"
	"testing"

	"callbackd"
)

func TestNamesOfOwnEventTypes(t *testing.T) {
	for name, want := range map[string]bool{
		"VEHICLE:ARRIVED": true, "A:B": true, "VEHICLE:PHOTO_2:ADDED": true, "SESSIONS:OPENED": true,
		"": false, "VEHICLE": false, "vehicle:arrived": false, "VEHICLE:": false, ":ARRIVED": false, "VEHICLE::ARRIVED": false, "1:A": false, "A:1": false, "A:_B": false,
		"VEHICLE:ARRIVED ": false, "VEHICLE:ÄRRIVED": false, "VEHICLE:A/B": false, "SESSION:ARCHIVED": false, "SESSION:COMPLETE": false, "DISK:FULL": false, "SILENCE": false,
		"A:" + strings.Repeat("B", callbackd.MaxOwnEventType-2): true, "A:" + strings.Repeat("B", callbackd.MaxOwnEventType-1): false,
	} {
		typ := callbackd.EventType(name)
		if typ.IsOwn() != want || (typ.CheckOwn() == nil) != want {
			t.Errorf("%q can be the name of an own type: %v (%v), want %v", name, typ.IsOwn(), typ.CheckOwn(), want)
		}
	}
	for _, typ := range callbackd.EventTypes {
		if typ.IsOwn() {
			t.Errorf("%s is callbackd's, and a platform could have a type with that name", typ)
		}
	}
}

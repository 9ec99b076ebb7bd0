package session

import (
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/strictjson"
	"callbackd/internal/view"
	"callbackd/wire"
)

// topLevelMembers lists the members of COMPLETE next to the member session, in PAVE's
// order. A member that nobody has set is null.
var topLevelMembers = []string{"photos", "vehicle", "location", "disclosures", "announcements", "inspection", "condition_report", "landing_page"}

// Results returns the body of GET …/results. It is what COMPLETE delivers, byte for
// byte, except that the reference may have been removed since.
func Results(s *callbackd.Session) ([]byte, error) {
	members, err := completed(s)
	return object(append([]strictjson.Member{
		{Name: "event", Value: strictjson.AppendString(nil, string(callbackd.Complete))},
		{Name: "session_key", Value: strictjson.AppendString(nil, s.SessionKey)},
	}, members...)), err
}

// completed returns the members of COMPLETE: the session, the members next to it, and
// everything else that the platform sent with PUT …/results. The values of the platform
// are not changed by a byte.
func completed(s *callbackd.Session) ([]strictjson.Member, error) {
	put, err := readResults(s.Results)
	if err != nil {
		return nil, err
	}
	vehicle, err := completedVehicle(s, put.topLevel["vehicle"])
	if err != nil {
		return nil, err
	}
	put.topLevel["vehicle"] = object(vehicle)
	if photos := put.topLevel["photos"]; photos.Kind() != '[' || photos.EmptyArray() {
		if put.topLevel["photos"], err = marshal(view.Photos(s)); err != nil {
			return nil, err
		}
	}
	own, err := completedSession(s, vehicle)
	if err != nil {
		return nil, err
	}
	session, err := merge(own, object(put.session))
	if err != nil {
		return nil, err
	}
	members := []strictjson.Member{{Name: "session", Value: session}}
	for _, name := range topLevelMembers {
		value := put.topLevel[name]
		if value == nil {
			value = strictjson.Value("null")
		}
		members = append(members, strictjson.Member{Name: name, Value: value})
	}
	return append(members, put.rest...), nil
}

// completedSession returns what callbackd knows about a completed session. Its vehicle
// has the documented members only, so that large results are not in the event twice.
func completedSession(s *callbackd.Session, vehicle []strictjson.Member) ([]byte, error) {
	shown := view.Session(s, "")
	out := wire.CompletedSession{
		SessionKey: shown.SessionKey, Theme: shown.Theme, Active: shown.Active, Status: shown.Status, RedirectURL: shown.RedirectURL,
		InspectStartedAt: shown.InspectStartedAt, InspectEndedAt: shown.InspectEndedAt, CreatedAt: shown.CreatedAt, UpdatedAt: shown.UpdatedAt,
		Language: shown.Language, Options: shown.Options, Source: shown.Source,
		CaptureDuration: seconds(s.CapturedAt.Sub(s.StartedAt)), InspectDuration: seconds(s.EndedAt.Sub(s.StartedAt)),
	}
	documented := []strictjson.Member{
		{Name: "id", Value: find(vehicle, "id")},
		{Name: "session_key", Value: strictjson.AppendString(nil, s.SessionKey)},
		{Name: "vrm", Value: find(vehicle, "vrm")}, // the registration mark, which only the platform knows
	}
	for _, name := range vehicleMembers[1:] {
		documented = append(documented, strictjson.Member{Name: name, Value: find(vehicle, name)})
	}
	out.Vehicle = []byte(object(documented))
	return marshal(out)
}

// vehicleMembers lists the members of every vehicle in COMPLETE, in order.
var vehicleMembers = []string{"id", "vin", "year", "make", "model", "body_type", "trim", "transmission", "drivetrain", "engine_type", "fuel_type",
	"ext_col", "int_col", "odom_reading", "odom_unit"}

// completedVehicle returns the vehicle that the platform sent. Missing values are taken
// from s. The documented members come first, then the platform's others.
func completedVehicle(s *callbackd.Session, put strictjson.Value) ([]strictjson.Member, error) {
	known, err := marshal(view.Vehicle(&s.Vehicle))
	if err != nil {
		return nil, err
	}
	own, err := strictjson.Object(known)
	if err != nil {
		return nil, err
	}
	own[0].Name = "id" // in a session it is vehicle_id
	_, given := objectIn(put)
	given = slices.DeleteFunc(given, func(m strictjson.Member) bool {
		// An empty text is no value, and vehicle_id is the id.
		return m.Name == "vehicle_id" || string(m.Value) == `""` && slices.Contains(vehicleMembers, m.Name)
	})
	all, err := merge(object(given), object(own))
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(all)
	place := func(m strictjson.Member) int {
		if i := slices.Index(vehicleMembers, m.Name); i >= 0 {
			return i
		}
		return len(vehicleMembers)
	}
	slices.SortStableFunc(members, func(a, b strictjson.Member) int { return place(a) - place(b) })
	return members, err
}

// results has what the platform sent, sorted by its place in COMPLETE.
type results struct {
	session  []strictjson.Member         // of the member session
	topLevel map[string]strictjson.Value // by the names in topLevelMembers
	rest     []strictjson.Member
}

// readResults sorts what the platform sent. The members of its object session belong to
// the session, except those in topLevelMembers. A null value counts as missing.
func readResults(put []byte) (r results, err error) {
	r.topLevel = map[string]strictjson.Value{}
	if put == nil {
		return r, nil
	}
	members, err := strictjson.Object(put)
	if err != nil {
		return r, err
	}
	for _, m := range members {
		switch {
		case m.Name == "event", m.Name == "session_key", m.Name == "session":
		case m.Name == "user_account": // earlier versions took it here
			r.session = append(r.session, m)
		case !slices.Contains(topLevelMembers, m.Name):
			r.rest = append(r.rest, m)
		case !m.Value.IsNull():
			r.topLevel[m.Name] = m.Value
		}
	}
	_, inner := objectIn(find(members, "session"))
	r.topLevel["vehicle"], _ = objectIn(r.topLevel["vehicle"])
	for _, m := range inner {
		if m.Name == "vehicle" {
			m.Value, _ = objectIn(m.Value)
		}
		if m.Name == "redirect_url" {
			continue // only the client may set it, because its scheme is checked there
		}
		if !slices.Contains(topLevelMembers, m.Name) {
			r.session = append(slices.DeleteFunc(r.session, func(n strictjson.Member) bool { return n.Name == m.Name }), m)
		} else if r.topLevel[m.Name], err = merge(r.topLevel[m.Name], m.Value); err != nil {
			return r, err
		}
	}
	return r, nil
}

// objectIn reads an object of the results. Any other value counts as an empty object,
// because earlier versions accepted anything for some members.
func objectIn(v strictjson.Value) (strictjson.Value, []strictjson.Member) {
	text, members, err := strictjson.LenientObject(v)
	if err != nil {
		return strictjson.Value("{}"), nil
	}
	return text, members
}

// find returns the value of a member, or null when there is no such member.
func find(members []strictjson.Member, name string) strictjson.Value {
	if i := slices.IndexFunc(members, func(m strictjson.Member) bool { return m.Name == name }); i >= 0 {
		return members[i].Value
	}
	return strictjson.Value("null")
}

// merge joins two values. The result of two objects has the members of both, those of
// the first one first. Of other values it is the first, unless that is null.
func merge(first, second strictjson.Value) (strictjson.Value, error) {
	if len(first) == 0 || first.IsNull() {
		return second, nil
	}
	if first.Kind() != '{' || second.Kind() != '{' {
		return first, nil
	}
	members, err := strictjson.Object(first)
	if err != nil {
		return nil, err
	}
	more, err := strictjson.Object(second)
	if err != nil {
		return nil, err
	}
	place := make(map[string]int, len(members))
	for i, m := range members {
		place[m.Name] = i
	}
	for _, m := range more {
		i, both := place[m.Name]
		if !both {
			members = append(members, m)
		} else if members[i].Value, err = merge(members[i].Value, m.Value); err != nil {
			return nil, err
		}
	}
	return object(members), nil
}

// object writes members as a JSON object.
func object(members []strictjson.Member) strictjson.Value {
	out := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(strictjson.AppendString(out, m.Name), ':'), m.Value...)
	}
	return append(out, '}')
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

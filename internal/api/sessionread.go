package api

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/strictjson"
)

// fields is the members of a session's body, whether they came nested or
// flat; the last of a name counts. It keeps the first error, so that reading
// is one line a member.
type fields struct {
	members []strictjson.Member
	err     error
}

// get is a member's value; nil when it is not there or null.
func (f *fields) get(name string) strictjson.Value {
	for i := len(f.members) - 1; i >= 0; i-- {
		if f.members[i].Name == name {
			return f.members[i].Value
		}
	}
	return nil
}

// containers are the members whose members count as the body's own, by where
// they may stand: real clients send both {"vehicle":{"vin":…}} and {"vin":…}.
var containers = map[string][]string{
	"":        {"session", "vehicle", "sms", "options", "contact"},
	"session": {"vehicle", "sms", "options", "contact"},
	"options": {"sms", "contact"},
}

// readFields reads a body, or a member that is an object. The nested member
// goes before the flat one of the same name.
func readFields(body []byte) (*fields, error) {
	f := &fields{members: make([]strictjson.Member, 0, 8)}
	_, members, err := strictjson.LenientObject(body)
	if err != nil {
		return nil, invalid("The body %v.", err)
	}
	return f, f.add("", members)
}

// add takes the members of a container.
func (f *fields) add(container string, members []strictjson.Member) error {
	inside := containers[container]
	for _, m := range members {
		if !m.Value.IsNull() && !slices.Contains(inside, m.Name) {
			f.members = append(f.members, m)
		}
	}
	for _, m := range members {
		if m.Value.IsNull() || !slices.Contains(inside, m.Name) {
			continue
		}
		_, inner, err := strictjson.LenientObject(m.Value)
		if err != nil {
			return invalid("%s %v.", m.Name, err)
		}
		if err := f.add(m.Name, inner); err != nil {
			return err
		}
	}
	return nil
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = invalid(format, args...)
	}
}

// given tells whether the member is there and not null.
func (f *fields) given(name string) bool { return f.get(name) != nil }

// text is a member's text of at most max bytes; numbers count as their text.
func (f *fields) text(name string, max int) string {
	v := f.get(name)
	if v == nil {
		return ""
	}
	s, ok := v.Text()
	if !ok && v.Kind() == '0' {
		s, ok = string(v), true
	}
	switch {
	case !ok:
		f.fail("%s must be a string.", name)
	case len(s) > max:
		f.fail("%s is longer than %d bytes.", name, max)
	}
	return strings.TrimSpace(s)
}

// need is text that must be there.
func (f *fields) need(name string, max int) string {
	s := f.text(name, max)
	if s == "" && f.err == nil {
		f.fail("%s is missing.", name)
	}
	return s
}

// oneOf is a text that must be one of the words, in any case, or absent.
func (f *fields) oneOf(name, absent string, words []string) string {
	s := f.text(name, callbackd.MaxSessionText)
	if s == "" {
		return absent
	}
	for _, w := range words {
		if strings.EqualFold(w, s) {
			return w
		}
	}
	f.fail("%s must be one of %s.", name, strings.Join(words, ", "))
	return ""
}

// whole is a whole number within bounds, as a number or a string; 0 when
// absent.
func (f *fields) whole(name string, least, most int64) int64 {
	s := f.text(name, callbackd.MaxSessionText)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		f.fail("%s must be a whole number from %d to %d, or a string that holds one.", name, least, most)
	}
	return n
}

// yes is true or false, as a word, a string, 1 or 0.
func (f *fields) yes(name string) bool {
	v := f.get(name)
	s, ok := v.Text()
	if !ok {
		s = string(v)
	}
	switch strings.ToLower(s) {
	case "true", "1":
		return true
	case "false", "0":
		return false
	}
	f.fail("%s must be true or false.", name)
	return false
}

// link is an absolute http or https URL; empty when absent.
func (f *fields) link(name string) string {
	s := f.text(name, callbackd.MaxURL)
	if s == "" {
		return ""
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		f.fail("%s must be an absolute http or https URL.", name)
	}
	return s
}

// redirect is where the user is led at the end; empty when absent.
func (f *fields) redirect() string {
	s := f.text("redirect_url", callbackd.MaxURL)
	if s == "" || f.err != nil {
		return s
	}
	f.err = callbackd.CheckRedirect(s)
	return s
}

// raw is a member's value byte for byte.
func (f *fields) raw(name string, max int) []byte {
	v := f.get(name)
	if len(v) > max {
		f.fail("%s is larger than %d bytes.", name, max)
	}
	return bytes.Clone(v)
}

// newSession sets on s what a client gave.
func (f *fields) newSession(s *callbackd.Session) error {
	short := func(name string) string { return f.text(name, callbackd.MaxSessionText) }
	s.Theme = f.oneOf("theme", s.Theme, callbackd.Themes)
	if l := f.language(); l != "" {
		s.Language = l
	}
	s.RedirectURL = f.redirect()
	s.ClientID = short("client_id")
	s.FirstName, s.LastName = short("first_name"), short("last_name")
	s.SMS = callbackd.SMS{To: short("to"), ToName: short("to_name"), From: short("from"), By: short("by")}
	s.Reference = f.raw("reference", callbackd.MaxReference)
	f.source(s)
	s.Vehicle = f.vehicle()
	return f.err
}

// language is a language code, kept as it was given.
func (f *fields) language() string {
	l := f.text("language", 16)
	if strings.Trim(strings.ToUpper(l), "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" || len(l) == 1 {
		f.fail("language must be a language code such as EN.")
	}
	return l
}

// source says where the session was made: "type", and free "properties".
// What is no object is ignored: real clients send text of their own.
func (f *fields) source(s *callbackd.Session) {
	members, err := strictjson.Object(f.get("source"))
	if err != nil {
		return
	}
	inner := &fields{}
	for _, m := range members {
		if !m.Value.IsNull() {
			inner.members = append(inner.members, strictjson.Member{Name: "source." + m.Name, Value: m.Value})
		}
	}
	s.SourceType = inner.oneOf("source.type", s.SourceType, callbackd.Sources)
	if p := inner.raw("source.properties", callbackd.MaxReference); p != nil {
		text, _, err := strictjson.LenientObject(p)
		if err != nil {
			inner.fail("source.properties %v.", err)
		}
		s.SourceProperties = text
	}
	if f.err == nil {
		f.err = inner.err
	}
}

// maxVehicleID is the largest number that every reader of JSON keeps whole.
const maxVehicleID = 1 << 53

func (f *fields) vehicle() (v callbackd.Vehicle) {
	short := func(name string) string { return f.text(name, callbackd.MaxSessionText) }
	v = callbackd.Vehicle{
		ID: f.whole("vehicle_id", 1, maxVehicleID), VIN: f.vin("vin"), Year: int(f.whole("year", 1886, 2999)), Make: short("make"), Model: short("model"),
		BodyType: short("body_type"), Trim: short("trim"), Transmission: short("transmission"), Drivetrain: short("drivetrain"),
		EngineType: short("engine_type"), FuelType: short("fuel_type"), ExteriorCol: short("ext_col"), InteriorCol: short("int_col"),
		OdomReading: short("odom_reading"), OdomUnit: short("odom_unit"),
	}
	return v
}

// resultsVehicle is the vehicle of results. Its number may be the member id, as
// COMPLETE has it. An id of another kind, and vrm, the registration mark, are
// kept in the results alone; they must be short, for COMPLETE has them twice.
func (f *fields) resultsVehicle() callbackd.Vehicle {
	v := f.vehicle()
	for _, name := range []string{"id", "vrm"} {
		if value := f.get(name); value.Kind() == '{' || value.Kind() == '[' || len(value) > callbackd.MaxSessionText {
			f.fail("vehicle.%s must be a string or a number of at most %d bytes.", name, callbackd.MaxSessionText)
		}
	}
	if id := f.get("id"); v.ID == 0 && id != nil {
		if n, err := strconv.ParseInt(strings.Trim(string(id), `"`), 10, 64); err == nil && n >= 1 && n <= maxVehicleID {
			v.ID = n
		}
	}
	return v
}

// vin is 17 letters and digits; I, O and Q are let pass, as masked samples
// and real mistypings have them.
func (f *fields) vin(name string) string {
	s := strings.ToUpper(f.text(name, callbackd.MaxSessionText))
	if s != "" && (len(s) != callbackd.VINLength || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "") {
		f.fail("%s must be %d letters and digits.", name, callbackd.VINLength)
	}
	return s
}

// update reads what PUT may change. An empty redirect_url removes it.
func (f *fields) update() (u callbackd.SessionUpdate, err error) {
	if f.given("redirect_url") {
		u.RedirectURL = ptr(f.redirect())
	}
	if f.given("language") {
		if u.Language = ptr(f.language()); *u.Language == "" {
			f.fail("language must be a language code such as EN.")
		}
	}
	if f.given("theme") {
		if u.Theme = ptr(f.oneOf("theme", "", callbackd.Themes)); *u.Theme == "" {
			f.fail("theme must be one of %s.", strings.Join(callbackd.Themes, ", "))
		}
	}
	if f.given("to") {
		u.SMSTo = ptr(f.need("to", callbackd.MaxSessionText))
		if f.given("to_name") {
			u.SMSToName = ptr(f.text("to_name", callbackd.MaxSessionText))
		}
	}
	return u, f.err
}

func ptr[T any](v T) *T { return &v }

// photo reads a capture, or a typed value.
func (f *fields) photo() (p callbackd.Photo, err error) {
	if !f.given("photo_code") {
		f.fail("photo_code is missing.")
	}
	p.Code = int(f.whole("photo_code", 1, 1<<31))
	step, ok := callbackd.StepOf(p.Code)
	if !ok && f.err == nil {
		var codes []string
		for _, s := range callbackd.PhotoSteps {
			codes = append(codes, strconv.Itoa(s.Code)+" "+s.Label)
		}
		f.fail("photo_code %d is not a step; the steps are %s.", p.Code, strings.Join(codes, ", "))
	}
	p.URL = f.link("url")
	p.Typed = f.typed(step)
	switch {
	case p.URL == "" && p.Typed == "":
		f.fail("url is missing.")
	case p.URL != "" && p.Typed != "":
		f.fail("typed stands in the place of url: give one of them.")
	case p.Typed != "":
		p.Approved = true
		return p, f.err
	}
	if !f.given("approved") {
		f.fail("approved is missing.")
		return p, f.err
	}
	p.Approved = f.yes("approved")
	if reason := callbackd.Reason(f.text("approved_message", callbackd.MaxPhotoMessage)); !p.Approved {
		if p.Reason = reason; reason == "" {
			f.fail("approved_message must say why the photo was rejected.")
		}
	}
	return p, f.err
}

func (f *fields) typed(step callbackd.PhotoStep) string {
	if !f.given("typed") {
		return ""
	}
	if !step.Typed {
		f.fail("typed is allowed for the steps VIN and Cluster; a photo of %s must be captured.", step.Label)
	}
	if step.Code == callbackd.StepVIN {
		return f.vin("typed")
	}
	return f.text("typed", callbackd.MaxSessionText)
}

// note reads a note, flat or as the member "note".
func (f *fields) note() (n callbackd.Note, err error) {
	if v := f.get("note"); v.Kind() == '{' {
		if f, err = readFields(v); err != nil {
			return n, err
		}
	}
	n = callbackd.Note{Title: f.text("title", callbackd.MaxSessionText), Description: f.text("description", callbackd.MaxNoteText), InsertedBy: f.text("inserted_by", callbackd.MaxSessionText)}
	if n.Title == "" && n.Description == "" {
		f.fail("title is missing, and so is description: a note has one of them at least.")
	}
	return n, f.err
}

// sms reads what became of an SMS.
func (f *fields) sms() (r callbackd.SMSReport, err error) {
	r.State = callbackd.SMSState(f.oneOf("status", "", []string{string(callbackd.SMSSuccess), string(callbackd.SMSError)}))
	if r.State == "" {
		f.fail("status is missing; it is success or error.")
	}
	r.Phone = f.text("phone", callbackd.MaxSessionText)
	r.Message = f.text("message", callbackd.MaxPhotoMessage)
	return r, f.err
}

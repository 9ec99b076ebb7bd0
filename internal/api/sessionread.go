package api

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/strictjson"
)

// containers lists members whose members count as the body's own, by the member that
// contains them. Clients send both {"vehicle":{"vin":"…"}} and {"vin":"…"}.
var containers = map[string][]string{
	"":        {"session", "vehicle", "sms", "options", "contact"},
	"session": {"vehicle", "sms", "options", "contact"},
	"options": {"sms", "contact"},
}

// sessionBody reads the body of a call about a session, which may be empty.
func (c *call) sessionBody(w http.ResponseWriter) (request.Object, error) {
	_, body, err := c.object(w)
	if err != nil {
		return body, err
	}
	return body.Lenient().Flatten(containers)
}

func shortText(name string, to *string) request.Field {
	return request.Text(name, to, callbackd.MaxSessionText)
}

// newSessionFields describes the members of a new session.
func newSessionFields(s *callbackd.Session) []request.Field {
	return append([]request.Field{
		request.Choice("theme", &s.Theme, callbackd.Themes),
		languageField(&s.Language).Optional(),
		redirectField(&s.RedirectURL),
		shortText("client_id", &s.ClientID),
		shortText("first_name", &s.FirstName),
		shortText("last_name", &s.LastName),
		shortText("to", &s.SMS.To),
		shortText("to_name", &s.SMS.ToName),
		shortText("from", &s.SMS.From),
		shortText("by", &s.SMS.By),
		request.Raw("reference", &s.Reference, callbackd.MaxReference),
		sourceField(s),
	}, vehicleFields(&s.Vehicle)...)
}

// languageField reads a language code and does not change its spelling.
func languageField(to *string) request.Field {
	const most = 16
	return request.Text("language", to, most).Check(func(string) error {
		letters := strings.Trim(strings.ToUpper(*to), "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == ""
		if !letters || len(*to) < 2 {
			return callbackd.Invalid("language must be a language code such as EN, not %q.", *to)
		}
		return nil
	})
}

// redirectField reads the URL that the user is sent to at the end. It may be empty.
func redirectField(to *string) request.Field {
	return request.Text("redirect_url", to, callbackd.MaxURL).Check(func(string) error {
		if *to == "" {
			return nil
		}
		return callbackd.CheckRedirect(*to)
	})
}

// linkField reads an absolute http or https URL. It may be empty.
func linkField(name string, to *string) request.Field {
	return request.Text(name, to, callbackd.MaxURL).Check(func(name string) error {
		if *to == "" {
			return nil
		}
		u, err := url.Parse(*to)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return callbackd.Invalid("%s must be an absolute http or https URL.", name)
		}
		return nil
	})
}

// sourceField reads where the session was created: a type and free properties. It ignores
// a source that is not an object, because PAVE's clients send texts of their own.
func sourceField(s *callbackd.Session) request.Field {
	return request.Field{Name: "source", Read: func(v request.Value) error {
		members, err := strictjson.Object(v.JSON)
		if err != nil {
			return nil
		}
		for i := range members {
			members[i].Name = "source." + members[i].Name
		}
		return request.Members(members).Lenient().Read(
			request.Choice("source.type", &s.SourceType, callbackd.Sources),
			request.RawObject("source.properties", &s.SourceProperties, callbackd.MaxReference),
		)
	}}
}

// maxVehicleID is the largest number that every JSON library reads exactly.
const maxVehicleID = 1 << 53

// The years of vehicles.
const (
	minVehicleYear = 1886
	maxVehicleYear = 2999
)

func vehicleFields(v *callbackd.Vehicle) []request.Field {
	return []request.Field{
		request.Whole("vehicle_id", &v.ID, 1, maxVehicleID),
		vinField("vin", &v.VIN),
		request.WholeAs("year", &v.Year, minVehicleYear, maxVehicleYear, fmt.Sprintf("a year from %d to %d", minVehicleYear, maxVehicleYear)),
		shortText("make", &v.Make),
		shortText("model", &v.Model),
		shortText("body_type", &v.BodyType),
		shortText("trim", &v.Trim),
		shortText("transmission", &v.Transmission),
		shortText("drivetrain", &v.Drivetrain),
		shortText("engine_type", &v.EngineType),
		shortText("fuel_type", &v.FuelType),
		shortText("ext_col", &v.ExteriorCol),
		shortText("int_col", &v.InteriorCol),
		shortText("odom_reading", &v.OdomReading),
		shortText("odom_unit", &v.OdomUnit),
	}
}

// vinField reads a VIN, which has 17 letters and digits. It accepts I, O and Q, because
// masked samples and mistyped VINs have them.
func vinField(name string, to *string) request.Field {
	return shortText(name, to).Check(func(name string) error {
		*to = strings.ToUpper(*to)
		valid := len(*to) == callbackd.VINLength && strings.Trim(*to, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
		if *to != "" && !valid {
			return callbackd.Invalid("%s must be %d letters and digits.", name, callbackd.VINLength)
		}
		return nil
	})
}

// resultsVehicleFields describes the vehicle of results. Its ID may be the member id, as
// in COMPLETE. Any other id, and vrm, the registration mark, are stored with the results
// only. They must be short, because COMPLETE has them twice.
func resultsVehicleFields(v *callbackd.Vehicle) []request.Field {
	id := request.Field{Name: "id", Read: func(value request.Value) error {
		if err := checkVehicleText(value); err != nil || v.ID != 0 {
			return err
		}
		n, err := strconv.ParseInt(strings.Trim(string(value.JSON), `"`), 10, 64)
		if err == nil && n >= 1 && n <= maxVehicleID {
			v.ID = n
		}
		return nil
	}}
	return append(vehicleFields(v), id, request.Field{Name: "vrm", Read: checkVehicleText})
}

func checkVehicleText(v request.Value) error {
	kind := v.JSON.Kind()
	if kind == '{' || kind == '[' || len(v.JSON) > callbackd.MaxSessionText {
		return callbackd.Invalid("vehicle.%s must be a string or a number of at most %d bytes.", v.Name, callbackd.MaxSessionText)
	}
	return nil
}

// readUpdate reads what PUT may change. An empty redirect_url removes it.
func readUpdate(body request.Object) (u callbackd.SessionUpdate, err error) {
	var redirect, language, theme, to, toName string
	given := func(name string, value *string) *string {
		if body.Has(name) {
			return value
		}
		return nil
	}
	u = callbackd.SessionUpdate{
		RedirectURL: given("redirect_url", &redirect),
		Language:    given("language", &language),
		Theme:       given("theme", &theme),
		SMSTo:       given("to", &to),
	}
	if u.SMSTo != nil {
		u.SMSToName = given("to_name", &toName)
	}
	fields := []request.Field{redirectField(&redirect), shortText("to_name", &toName)}
	for _, f := range []request.Field{
		languageField(&language),
		request.Choice("theme", &theme, callbackd.Themes),
		shortText("to", &to),
	} {
		if body.Has(f.Name) {
			fields = append(fields, f.Required())
		}
	}
	return u, body.Read(fields...)
}

// readPhoto reads a photo, or a value that was typed instead.
func readPhoto(body request.Object) (p callbackd.Photo, err error) {
	step, err := readStep(body)
	if err != nil {
		return p, err
	}
	p.Code = step.Code
	if err := body.Read(linkField("url", &p.URL), typedField(step, &p.Typed)); err != nil {
		return p, err
	}
	switch {
	case p.URL == "" && p.Typed == "":
		return p, request.Missing("url")
	case p.URL != "" && p.Typed != "":
		return p, callbackd.Invalid("url and typed are both given. Leave out one of them.")
	case p.Typed != "":
		p.Approved = true
		return p, nil
	}
	err = readApproval(body, &p)
	return p, err
}

func readStep(body request.Object) (callbackd.PhotoStep, error) {
	code := 0
	if err := body.Read(request.WholeAs("photo_code", &code, math.MinInt, math.MaxInt, "the number of a step: "+listSteps()).Required()); err != nil {
		return callbackd.PhotoStep{}, err
	}
	step, ok := callbackd.StepOf(code)
	if !ok {
		return step, callbackd.Invalid("photo_code %d is not a step. Use %s.", code, listSteps())
	}
	return step, nil
}

// listSteps writes the steps as a part of a sentence: "1 (VIN), 2 (Interior) or 3 (Cluster)".
func listSteps() string {
	steps := make([]string, len(callbackd.PhotoSteps))
	for i, s := range callbackd.PhotoSteps {
		steps[i] = fmt.Sprintf("%d (%s)", s.Code, s.Label)
	}
	return request.List(steps, "or")
}

// typedField reads a value that was typed instead of captured.
func typedField(step callbackd.PhotoStep, to *string) request.Field {
	f := shortText("typed", to)
	if step.Code == callbackd.StepVIN {
		f = vinField("typed", to)
	}
	return f.Check(func(string) error {
		if !step.Typed {
			return callbackd.Invalid("typed is allowed for the steps VIN and Cluster. A photo of %s must be captured.", step.Label)
		}
		return nil
	})
}

func readApproval(body request.Object, p *callbackd.Photo) error {
	message := ""
	err := body.Read(
		request.Flag("approved", &p.Approved).Required(),
		request.Text("approved_message", &message, callbackd.MaxPhotoMessage),
	)
	if err != nil || p.Approved {
		return err
	}
	p.Reason = callbackd.Reason(message)
	if p.Reason == "" {
		return callbackd.Invalid("approved_message must say why the photo was rejected.")
	}
	return nil
}

// readNote reads a note, either from the body or from its member "note".
func readNote(body request.Object) (n callbackd.Note, err error) {
	if v, ok := body.Get("note"); ok && v.JSON.Kind() == '{' {
		if body, err = body.Nested("note"); err != nil {
			return n, err
		}
	}
	err = body.Read(
		shortText("title", &n.Title),
		request.Text("description", &n.Description, callbackd.MaxNoteText),
		shortText("inserted_by", &n.InsertedBy),
	)
	if err == nil && n.Title == "" && n.Description == "" {
		err = callbackd.Invalid("title and description are missing. A note has at least one of them.")
	}
	return n, err
}

// readSMSReport reads the result of an SMS.
func readSMSReport(body request.Object) (r callbackd.SMSReport, err error) {
	states := []callbackd.SMSState{callbackd.SMSSuccess, callbackd.SMSError}
	err = body.Read(
		request.Choice("status", &r.State, states).RequiredElse(callbackd.Invalid("status is missing. Send success or error.")),
		shortText("phone", &r.Phone),
		request.Text("message", &r.Message, callbackd.MaxPhotoMessage),
	)
	return r, err
}

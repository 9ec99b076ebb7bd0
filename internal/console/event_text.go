package console

import (
	"encoding/json"
	"strings"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/safetext"
)

// eventText writes the data of an event in a few words. What it does not know
// is on the event's page.
func eventText(ev *callbackd.Event) string {
	var d struct {
		Status      string `json:"status"`
		Previous    string `json:"previous_status"`
		Phone       string `json:"phone"`
		PhotoLabel  string `json:"photo_label"`
		PhotoStatus string `json:"photo_status"`
		Note        struct {
			Title       string `json:"title"`
			Description string `json:"description"`
		} `json:"note"`
	}
	if json.Unmarshal(ev.Data, &d) != nil {
		return ""
	}
	var s string
	switch ev.Type {
	case callbackd.StatusChange:
		s = d.Status
		if d.Previous != "" {
			s = d.Previous + " → " + d.Status
		}
	case callbackd.SMSProcess:
		s = strings.TrimSpace("SMS " + d.Status + " " + d.Phone)
	case callbackd.SMSRequested:
		s = strings.TrimSpace("SMS to be sent to " + d.Phone)
	case callbackd.Complete:
		s = completeText(ev.Data)
	case callbackd.StageChange:
		s = strings.TrimSpace(d.PhotoLabel + " " + d.PhotoStatus)
	case callbackd.NoteInsert:
		s = strings.Trim(d.Note.Title+": "+d.Note.Description, ": ")
	}
	return safetext.Clip(safetext.Escape(s), 160)
}

// completeText writes the data of COMPLETE in a few words.
func completeText(data []byte) string {
	var d struct {
		Photos  []json.RawMessage `json:"photos"`
		Vehicle struct {
			VIN   string          `json:"vin"`
			Year  json.RawMessage `json:"year"` // a number or a text
			Make  string          `json:"make"`
			Model string          `json:"model"`
		} `json:"vehicle"`
		Report string `json:"condition_report"`
	}
	if json.Unmarshal(data, &d) != nil {
		return ""
	}
	year := strings.Trim(strings.TrimPrefix(string(d.Vehicle.Year), "null"), `"`)
	words := strings.Fields(year + " " + d.Vehicle.Make + " " + d.Vehicle.Model + " " + d.Vehicle.VIN)
	var parts []string
	if len(words) > 0 {
		parts = append(parts, strings.Join(words, " "))
	}
	if len(d.Photos) > 0 {
		parts = append(parts, humanize.Plural(len(d.Photos), "photo"))
	}
	if d.Report != "" {
		parts = append(parts, "a condition report")
	}
	return strings.Join(parts, ", ")
}

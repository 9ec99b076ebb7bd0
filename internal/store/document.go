package store

import (
	"encoding/binary"
	"errors"
	"time"

	"callbackd"
)

// documentFormat is the version of the stored document of a session. The document
// holds the fields that no query needs: numbers as varints, texts with their lengths.
// It must be small and fast, because every change writes it. New fields go to the end;
// a document from before them reads as zero.
const documentFormat = 1

var errDocument = errors.New("the document of a session cannot be read: the row is damaged or from a newer callbackd")

// EncodeSession returns the document of a session: everything but the key, the
// session key, the status, the reference, the results, and the times of creation
// and end. Times are in milliseconds.
func EncodeSession(s *callbackd.Session) []byte {
	size := 256 + len(s.SourceProperties) + len(s.RedirectURL)
	for i := range s.Photos {
		size += 32 + len(s.Photos[i].URL) + len(s.Photos[i].Reason)
	}
	d := document{b: append(make([]byte, 0, size), documentFormat)}
	copied := *s // describe takes pointers
	d.describe(&copied)
	return d.b
}

// DecodeSession sets the fields of s that a document holds.
func DecodeSession(b []byte, s *callbackd.Session) error {
	if len(b) == 0 || b[0] != documentFormat {
		return errDocument
	}
	d := document{b: b[1:], reading: true}
	d.describe(s)
	if d.bad || len(d.b) > 0 {
		return errDocument
	}
	return nil
}

// document writes or reads a document. One description serves both, so that they
// cannot differ.
type document struct {
	b       []byte
	reading bool
	bad     bool
}

func (d *document) describe(s *callbackd.Session) {
	for _, t := range []*string{&s.Theme, &s.Language, &s.RedirectURL, &s.ClientID, &s.FirstName, &s.LastName, &s.SourceType,
		&s.SMS.To, &s.SMS.ToName, &s.SMS.From, &s.SMS.By, (*string)(&s.SMS.State)} {
		d.text(t)
	}
	d.flag(&s.SMS.Resent)
	d.bytes(&s.SourceProperties)
	for _, t := range []*time.Time{&s.UpdatedAt, &s.StartedAt, &s.CapturedAt, &s.ExpiresAt} {
		d.time(t)
	}
	d.count(&s.Notes)
	d.vehicle(&s.Vehicle)
	n := len(s.Photos)
	d.count(&n)
	if d.reading && n > 0 && n <= len(callbackd.PhotoSteps) {
		s.Photos = make([]callbackd.Photo, n)
	}
	for i := range s.Photos {
		p := s.Photos[i] // a copy, because the session may be shared while it is written
		d.photo(&p)
		if d.reading {
			s.Photos[i] = p
		}
	}
	// Only the document of an erased session has this field, so that nodes of an older
	// version can read all others.
	if !s.ErasedAt.IsZero() || d.reading && len(d.b) > 0 {
		d.time(&s.ErasedAt)
	}
}

func (d *document) vehicle(v *callbackd.Vehicle) {
	d.int(&v.ID)
	d.count(&v.Year)
	for _, t := range []*string{&v.VIN, &v.Make, &v.Model, &v.BodyType, &v.Trim, &v.Transmission, &v.Drivetrain, &v.EngineType, &v.FuelType,
		&v.ExteriorCol, &v.InteriorCol, &v.OdomReading, &v.OdomUnit} {
		d.text(t)
	}
}

func (d *document) photo(p *callbackd.Photo) {
	d.count(&p.Code)
	d.flag(&p.Approved)
	d.text(&p.URL)
	d.text(&p.Typed)
	d.text(&p.Reason)
	d.time(&p.CreatedAt)
	d.time(&p.UpdatedAt)
}

func (d *document) int(n *int64) {
	if !d.reading {
		d.b = binary.AppendVarint(d.b, *n)
		return
	}
	if len(d.b) == 0 { // the document is from before this field
		*n = 0
		return
	}
	v, size := binary.Varint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return
	}
	*n, d.b = v, d.b[size:]
}

func (d *document) count(n *int) {
	v := int64(*n)
	d.int(&v)
	*n = int(v)
}

func (d *document) flag(b *bool) {
	v := int64(0)
	if *b {
		v = 1
	}
	d.int(&v)
	*b = v != 0
}

func (d *document) time(t *time.Time) {
	ms := int64(0)
	if !t.IsZero() {
		ms = t.UnixMilli()
	}
	if d.int(&ms); d.reading {
		*t = time.Time{}
		if ms != 0 {
			*t = time.UnixMilli(ms).UTC()
		}
	}
}

func (d *document) text(s *string) {
	n := int64(len(*s))
	d.int(&n)
	if !d.reading {
		d.b = append(d.b, *s...)
		return
	}
	if n < 0 || n > int64(len(d.b)) {
		d.bad, d.b = true, nil
		return
	}
	*s, d.b = string(d.b[:n]), d.b[n:]
}

// bytes is like text for a []byte, which is nil when it is empty.
func (d *document) bytes(b *[]byte) {
	s := string(*b)
	if d.text(&s); d.reading && s != "" {
		*b = []byte(s)
	}
}

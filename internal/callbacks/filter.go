package callbacks

import (
	"callbackd"
	"callbackd/internal/request"
)

// FilterField reads the filter of a callback: an object, or a text that holds one.
func FilterField(name string, to **callbackd.Filter) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		text, _, err := v.Object()
		if err == nil {
			*to, err = callbackd.ParseFilter(v.Name, text)
		}
		return err
	}}
}

// FieldsField reads which fields of the data a callback gets.
func FieldsField(name string, to **callbackd.Fields) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		text, _, err := v.Object()
		if err == nil {
			*to, err = callbackd.ParseFields(v.Name, text)
		}
		return err
	}}
}

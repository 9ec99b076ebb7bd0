package console

import (
	"html/template"
	"strings"

	"callbackd"
	"callbackd/internal/request"
)

// formErrors has the errors of a form by field, so that a person sees all of
// them at once. The empty name is for errors that belong to no field.
type formErrors map[string]string

// add notes an error at a field when the user can correct it, and returns any
// other error. A field keeps its first error.
func (e formErrors) add(field string, err error) error {
	switch callbackd.KindOf(err) {
	case callbackd.KindInternal, callbackd.KindUnavailable:
		return err
	}
	if err != nil && e[field] == "" {
		e[field] = callbackd.Sentence(err)
	}
	return nil
}

// addAll notes what is wrong with the fields of a form.
func (e formErrors) addAll(problems []request.Problem) {
	for _, p := range problems {
		e.add(p.Field, p.Err)
	}
}

// invalid notes an error at a field.
func (e formErrors) invalid(field, format string, args ...any) {
	e.add(field, callbackd.Errorf(callbackd.KindInvalid, format, args...))
}

// errorAttrs returns the attributes of a control that connect it to its error
// and to its help texts.
func errorAttrs(errs formErrors, field string, help ...string) template.HTMLAttr {
	describedBy, attrs := help, ""
	if errs[field] != "" {
		describedBy = append([]string{field + "-error"}, help...)
		attrs = `aria-invalid="true" `
	}
	if len(describedBy) > 0 {
		attrs += `aria-describedby="` + strings.Join(describedBy, " ") + `"`
	}
	return template.HTMLAttr(attrs)
}

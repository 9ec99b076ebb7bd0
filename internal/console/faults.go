package console

import (
	"html/template"
	"strings"

	"callbackd"
)

// wrong is what is wrong in a form, by field: all of it, so that a person sees
// everything at once. The empty name is what belongs to no field.
type wrong map[string]string

// add notes an error at a field, when there is one that the visitor can mend.
// It returns any other error.
func (w wrong) add(name string, err error) error {
	switch callbackd.KindOf(err) {
	case callbackd.KindInternal, callbackd.KindUnavailable:
		return err
	}
	if err != nil && w[name] == "" {
		w[name] = sentence(err)
	}
	return nil
}

// fieldAttrs is the attributes of a control that tie it to what is wrong with
// it and to its help.
func fieldAttrs(w wrong, name string, help ...string) template.HTMLAttr {
	by := help
	out := ""
	if w[name] != "" {
		by = append([]string{name + "-wrong"}, help...)
		out = `aria-invalid="true" `
	}
	if len(by) > 0 {
		out += `aria-describedby="` + strings.Join(by, " ") + `"`
	}
	return template.HTMLAttr(out)
}

package console

// Patterns is every route, for the tests that walk them all.
func Patterns() []string {
	var out []string
	for _, r := range New(Options{}).routes() {
		out = append(out, r.pattern)
	}
	return out
}

// Stylesheet is the text of the one there is.
func Stylesheet() string {
	raw, err := staticFiles.ReadFile("static/console.css")
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// Of text.
var (
	Clean    = clean
	Quote    = quote
	Sample   = sample
	RateText = rateText
)

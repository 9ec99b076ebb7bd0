package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestTheCommittedClientsAreWhatTheScriptMakes(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		have, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != text {
			t.Errorf("%s is not what openapi.yaml says; run `go run ./scripts/clients`", name)
		}
	}
}

func TestEveryOperationIsAMethodInBothLanguages(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "internal/api/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Count(string(raw), "operationId:") - strings.Count(string(raw), "operationId: on"); len(doc.operations) != all || all < 100 {
		t.Errorf("%d operations were read, and the document has %d", len(doc.operations), all)
	}
	ts, py := typeScript(doc), python(doc)
	for _, op := range doc.operations {
		if strings.Count(ts, "\n  "+op.id+"(") != 1 || strings.Count(py, "\n    def "+snake(op.id)+"(") != 1 {
			t.Errorf("%s is not one method in each language", op.id)
		}
	}
	for _, s := range doc.schemas {
		if !strings.Contains(ts, "export interface "+s.Name+" ") && !strings.Contains(ts, "export type "+s.Name+" ") {
			t.Errorf("the schema %s has no type in TypeScript", s.Name)
		}
		if !strings.Contains(py, "\nclass "+s.Name+"(") && !strings.Contains(py, "\n"+s.Name+": t.TypeAlias") && !strings.Contains(py, "\n"+s.Name+" = t.TypedDict") {
			t.Errorf("the schema %s has no type in Python", s.Name)
		}
	}
}

const small = `
paths:
  /a/{id}:
    post:
      operationId: makeSMS
      summary: Say "hello" */ here.
      security: [{operator: []}]
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: limit, in: query, schema: {type: integer}}
        - {name: Idempotency-Key, in: header, schema: {type: string}}
      requestBody: {required: false, content: {application/json: {schema: {$ref: "#/components/schemas/Body"}}}}
      responses:
        "200": {content: {application/json: {schema: {type: [string, "null"]}}}}
        "404": {content: {text/html: {schema: {type: string}}}}
components:
  schemas:
    Later: {oneOf: [{$ref: "#/components/schemas/Body"}, {$ref: "#/components/schemas/Kind"}]}
    Kind: {enum: ["true", true, 1], type: string}
    Body: {type: object, required: [from], properties: {from: {type: string}, deep: {type: array, items: {type: object, properties: {a: {type: boolean}}}}}}
`

func TestSmallDocument(t *testing.T) {
	doc, err := read([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	ts, py := typeScript(doc), python(doc)
	for text, parts := range map[string][]string{
		ts: {
			`Say "hello" * / here. POST /a/{id} */`,
			"makeSMS(id: string, body?: Body, query: { limit?: number } = {}, options: CallOptions = {}): Promise<string | null> {",
			"{ method: 'POST', path: `/a/${escape(id)}`, auth: 'operator', body, query }, options",
			`export type Kind = "true" | true | 1;`, "from: string;\n  deep?: Array<{\n    a?: boolean;\n  }>;",
		},
		py: {
			"def make_sms(self, id: str, body: Body | None = None, *, limit: int | None = None, idempotency_key: str | None = None) -> str | None:",
			`"""Say 'hello' */ here. POST /a/{id}"""`, `"POST", f"/a/{escape(id)}", "operator", body=body, query={"limit": limit}, idempotency_key=idempotency_key`,
			`Kind: t.TypeAlias = t.Literal["true", True, 1]` + "\nLater: t.TypeAlias = Body | Kind", "class BodyDeep(t.TypedDict):\n    a: t.NotRequired[bool]", `"from": "str",`,
		},
	} {
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not in\n%s", part, text)
			}
		}
	}
}

// What a generator does not know is refused: it is not left out in silence.
func TestWhatIsNotKnownIsRefused(t *testing.T) {
	for old, now := range map[string]string{
		"operationId: makeSMS":               "operationId: make-sms",
		"operator: []":                       "cookie: []",
		"name: limit, in: query":             "name: body, in: query",
		"name: id, in: path":                 "name: id-of, in: path",
		"in: query, schema":                  "in: query, required: true, schema",
		"{application/json: {schema: {$ref":  "{text/csv: {schema: {$ref",
		`"200": {content: {application/json`: `"200": {content: {text/html`,
		`"200":`:                             `"300":`,
	} {
		if !strings.Contains(small, old) {
			t.Fatalf("the document has no %q", old)
		}
		if _, err := read([]byte(strings.Replace(small, old, now, 1))); err == nil {
			t.Errorf("a document with %s is read", now)
		}
	}
}

package console

import (
	"net/http"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// eraseNames are what an erasure is chosen by, as people read it.
var eraseNames = map[string]string{
	string(callbackd.EraseSession):   "Session",
	string(callbackd.EraseVIN):       "VIN",
	string(callbackd.ErasePhone):     "Phone number",
	string(callbackd.EraseReference): "Reference",
}

// eraseRow is an erasure in a list or on its page.
type eraseRow struct {
	wire.Erase
	Owner string
}

// Name says by what the erasure is chosen.
func (r eraseRow) Name() string { return eraseNames[r.By] }

type erasesPage struct {
	base
	scope
	list
	Rows []eraseRow
	Tabs []tab // for the operator
}

// eraseTabs are the tabs of the operator's lists of erasures.
func eraseTabs(groups bool) []tab {
	return []tab{{"Each API key", link("erases"), !groups}, {"Over all API keys", link("erase-groups"), groups}}
}

// erases lists erasures and dry runs.
func (c *Console) erases(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	p := &erasesPage{base: c.base(req, "erases", "Erasures"), scope: s, list: newList(link("erases"), s.query())}
	var after callbackd.EraseID
	if err := readCursor(&p.list, req.URL.Query(), &after, callbackd.ParseEraseID); err != nil {
		return err
	}
	p.refreshFirst(&p.list, 2)
	if req.isOperator() {
		p.Tabs = eraseTabs(false)
	}
	page, err := c.Store.ListErases(req.Context(), store.EraseQuery{Key: s.KeyID, After: after, Limit: pageRows})
	if err != nil {
		return err
	}
	for i := range page.Erases {
		e := &page.Erases[i]
		p.Rows = append(p.Rows, eraseRow{view.Erase(e), s.owner(e.Key)})
	}
	if page.Next != 0 {
		p.setNext(page.Next.String())
	}
	return c.render(w, http.StatusOK, "erases", p)
}

type newErasePage struct {
	base
	scope
	By    string // what is chosen
	Bys   []keepChoice
	Value string
	All   bool // the operator looks in all API keys
}

func (c *Console) newErasePage(req *userRequest) (*newErasePage, error) {
	s, err := c.scope(req)
	if err != nil {
		return nil, err
	}
	s.Required = true
	p := &newErasePage{base: c.base(req, "erases", "Erase a person"), scope: s, By: req.PostFormValue("by"), Value: req.PostFormValue("value")}
	p.All = req.isOperator() && req.PostFormValue("all") != ""
	for _, by := range callbackd.EraseBys {
		p.Bys = append(p.Bys, keepChoice{string(by), eraseNames[string(by)]})
	}
	return p, nil
}

// newErase shows the form of a dry run.
func (c *Console) newErase(w http.ResponseWriter, req *userRequest) error {
	p, err := c.newErasePage(req)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "erase-new", p)
}

// createErase starts the dry run of the form. Only its page can start the erasure.
func (c *Console) createErase(w http.ResponseWriter, req *userRequest) error {
	if err := req.ParseForm(); err != nil {
		return errFormCut
	}
	p, err := c.newErasePage(req)
	if err != nil {
		return err
	}
	if p.KeyID == store.AllKeys && !p.All {
		p.Errors.add("key", callbackd.Invalid("Choose an API key, or all of them below."))
	}
	by := callbackd.EraseBy(p.By)
	if !slices.Contains(callbackd.EraseBys, by) {
		p.Errors.add("by", callbackd.Invalid("Choose one of %s.", request.List(callbackd.EraseBys, "or")))
	} else if _, ok := by.EraseValue(p.Value); !ok {
		p.Errors.add("value", by.ErrValue(p.Value))
	}
	if len(p.Errors) == 0 {
		to, err := c.startDryRun(req, p.KeyID, by, p.Value, p.All)
		if err == nil {
			return redirect(w, req, to, "")
		}
		if err := p.Errors.add("", err); err != nil {
			return err
		}
	}
	return c.render(w, http.StatusBadRequest, "erase-new", p)
}

// startDryRun starts the dry run of one API key, or of all, and returns where its page is.
func (c *Console) startDryRun(req *userRequest, key callbackd.KeyID, by callbackd.EraseBy, value string, all bool) (to string, err error) {
	e := callbackd.Erase{Key: key, By: by, DryRun: true}
	if !all {
		made, err := c.startErase(req, e, value)
		if err != nil {
			return "", err
		}
		return link("erases", made.ID), nil
	}
	made, err := c.startErases(req, e, value)
	if err != nil {
		return "", err
	}
	return link("erase-groups", made.ID), nil
}

// startErase starts an erasure or a dry run of what has a value.
func (c *Console) startErase(req *userRequest, e callbackd.Erase, value string) (*callbackd.Erase, error) {
	normal, ok := e.By.EraseValue(value)
	if !ok {
		return nil, e.By.ErrValue(value)
	}
	e.CreatedAt = c.now().UTC().Truncate(time.Millisecond)
	made, err := c.Store.CreateErase(req.Context(), e, normal)
	if err == nil {
		c.Dispatcher.ReplaysChanged()
	}
	return made, err
}

// eraseHref returns where the button on a session's page leads.
func (c *Console) eraseHref(s scope, id store.SessionID) string {
	to := link("sessions", id.SessionKey, "erase")
	if k := s.keyByID(id.Key); k != nil {
		to = withQuery(to, "key", k.APIKey)
	}
	return to
}

// eraseSession starts the dry run of one session.
func (c *Console) eraseSession(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	ids, err := c.sessionsWithKey(req.Context(), s.KeyID, req.PathValue("session"))
	if err != nil {
		return err
	}
	if len(ids) != 1 { // several API keys use the session key, and the address names none of them
		return errPageNotFound
	}
	made, err := c.startErase(req, callbackd.Erase{Key: ids[0].Key, By: callbackd.EraseSession, DryRun: true}, ids[0].SessionKey)
	if err != nil {
		return err
	}
	return redirect(w, req, link("erases", made.ID), "")
}

type erasePage struct {
	base
	E      eraseRow
	Group  string // where the erasure over all API keys is, for the operator
	Counts []countRow
	confirmation
}

// confirmation is the form that erases what a dry run has counted.
type confirmation struct {
	Ready   bool   // the dry run has ended, and the person may erase
	Typed   bool   // the value must be typed again, because it is not stored
	By      string // what the value is
	Confirm string // where the form goes
	Errors  formErrors
}

// countRow is one of the counts of an erasure.
type countRow struct {
	Name  string
	Count int64
}

// eraseCounts returns the counts of an erasure that a person reads.
func eraseCounts(c wire.EraseCounts) []countRow {
	return []countRow{
		{"Sessions", c.Sessions}, {"Stored sessions", c.SessionRecords}, {"Photos", c.Photos}, {"Notes", c.Notes}, {"Events", c.Events}, {"Pending deliveries, canceled first", c.Canceled},
		{"Attempts with request and response", c.Attempts}, {"Callbacks for one session", c.Callbacks}, {"Idempotency keys", c.Idempotency}, {"Messages in the log of calls", c.LogMessages}, {"Reasons of cancellations", c.Reasons},
	}
}

// eraseFromPath returns the erasure that the path names, when the person may see it.
func (c *Console) eraseFromPath(req *userRequest) (*callbackd.Erase, error) {
	id, ok := callbackd.ParseEraseID(req.PathValue("erase"))
	if !ok {
		return nil, errPageNotFound
	}
	e, err := c.Store.Erase(req.Context(), req.keyFilter(), id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil, errPageNotFound
	}
	return e, err
}

func (c *Console) newErasureView(req *userRequest, e *callbackd.Erase) (*erasePage, error) {
	s, err := c.scope(req)
	if err != nil {
		return nil, err
	}
	title := "Erasure"
	if e.DryRun {
		title = "Dry run of an erasure"
	}
	p := &erasePage{base: c.base(req, "erases", title), E: eraseRow{view.Erase(e), s.owner(e.Key)}}
	p.Counts = eraseCounts(p.E.Counts)
	p.confirmation = confirmation{Ready: e.DryRun && !e.Running() && p.MayChange, Typed: e.By != callbackd.EraseSession, By: p.E.Name(), Confirm: link("erases", e.ID, "confirm"), Errors: formErrors{}}
	if e.Group != 0 && req.keyFilter() == store.AllKeys {
		p.Group = link("erase-groups", e.Group.String())
	}
	if e.Running() {
		p.Refresh, p.Reload = 1, 1
	}
	return p, nil
}

// erase shows how far an erasure is, and its receipt when it has ended.
func (c *Console) erase(w http.ResponseWriter, req *userRequest) error {
	e, err := c.eraseFromPath(req)
	if err != nil {
		return err
	}
	p, err := c.newErasureView(req, e)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "erase", p)
}

// confirmErase erases what a dry run has counted.
func (c *Console) confirmErase(w http.ResponseWriter, req *userRequest) error {
	if err := req.ParseForm(); err != nil {
		return errFormCut
	}
	e, err := c.eraseFromPath(req)
	if err != nil {
		return err
	}
	if !e.DryRun || e.Running() {
		return callbackd.Errorf(callbackd.KindConflict, "%s is not a dry run that has ended; only what such a one has counted is erased here.", e.ID)
	}
	value := req.PostFormValue("value")
	if e.By == callbackd.EraseSession {
		value = e.Subject
	}
	made, err := c.startErase(req, callbackd.Erase{Key: e.Key, By: e.By, Subject: e.Subject}, value)
	if err == nil {
		return redirect(w, req, link("erases", made.ID), "")
	}
	p, viewErr := c.newErasureView(req, e)
	if viewErr != nil {
		return viewErr
	}
	if err := p.refuse(err); err != nil {
		return err
	}
	return c.render(w, http.StatusBadRequest, "erase", p)
}

// refuse notes why nothing was erased. It returns an error that is not for the form.
func (f *confirmation) refuse(err error) error {
	field := ""
	if callbackd.KindOf(err) == callbackd.KindInvalid {
		field = "value"
	}
	return f.Errors.add(field, err)
}

// Package simulate plays inspections through the public API, as a capture platform and
// its users would, for demonstrations and for load tests.
package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/wire"
)

// Step is one step of an inspection.
type Step struct {
	Wait time.Duration // before the step, in the time of a real inspection
	Name string
	do   func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error)
}

// Plan is one planned inspection.
type Plan struct {
	Arrives time.Duration // after the start of the simulation
	Session client.NewSession
	Steps   []Step
	// Abandoned is set when the user leaves, so that the session expires.
	Abandoned bool
}

// Odds holds how often an inspection does not go as planned, from 0 to 1.
type Odds struct {
	Reject  float64 // of each photo, to be rejected and captured again
	Expire  float64 // of a session, to be abandoned
	Invalid float64 // of a session, to be found invalid
}

// window is the time within which sessions start, in the time of real inspections.
const window = 10 * time.Minute

var reasons = []string{"Wrong View", "Too Dark", "Blurry", "Vehicle Cut Off", "Reflection"}

// planner makes one plan with its own random choices.
type planner struct {
	*rand.Rand
	plan Plan
}

func (p *planner) between(least, most int) time.Duration {
	return time.Duration(least+p.IntN(most-least+1)) * time.Second
}

func (p *planner) add(wait time.Duration, name string, do func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error)) {
	p.plan.Steps = append(p.plan.Steps, Step{wait, name, do})
}

// New plans session n.
func New(r *rand.Rand, n int, o Odds) Plan {
	p := &planner{Rand: r}
	p.plan.Arrives = time.Duration(p.Int64N(int64(window)))
	phone := fmt.Sprintf("+1555555%04d", n%10000)
	p.plan.Session = client.NewSession{Theme: "PRO", SMS: &client.SMS{To: phone, ToName: "Jane Smith"}, Options: &client.SessionOptions{ClientID: fmt.Sprint("simulated-", n), Reference: map[string]int{"lead": n}}}
	knownVIN := p.Float64() < 0.5
	if knownVIN {
		vin := newVIN(r)
		p.plan.Session.Vehicle = &wire.Vehicle{VIN: &vin}
	}
	fate := p.Float64()
	invalid := fate < o.Invalid
	p.plan.Abandoned = !invalid && fate < o.Invalid+o.Expire
	steps := callbackd.PhotoSteps
	if knownVIN {
		steps = steps[1:]
	}
	last := len(steps)
	if p.plan.Abandoned {
		last = p.IntN(len(steps)) - 1
	}
	if invalid {
		last = 1 + p.IntN(len(steps)-1)
	}
	p.sms(phone)
	if last < 0 {
		return p.plan // abandoned before it was started
	}
	p.add(p.between(30, 120), "start", func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
		return cl.StartSession(ctx, key)
	})
	for _, step := range steps[:last] {
		p.photo(step, o.Reject)
		if p.Float64() < 0.1 {
			p.note(step)
		}
	}
	switch {
	case p.plan.Abandoned:
	case invalid:
		p.add(p.between(20, 60), "invalidate", func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
			return cl.InvalidateSession(ctx, key, "The photographed vehicle is another one.")
		})
	default:
		p.finish()
	}
	return p.plan
}

// sms reports the SMS with the link. One in ten cannot be delivered: the number is
// corrected, and the SMS is sent again.
func (p *planner) sms(phone string) {
	report := func(wait time.Duration, r client.SMSReport) {
		p.add(wait, "sms "+r.Status, func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
			return cl.ReportSMS(ctx, key, r)
		})
	}
	if p.Float64() >= 0.1 {
		report(p.between(2, 8), client.SMSReport{Status: "success"})
		return
	}
	report(p.between(2, 8), client.SMSReport{Status: "error", Message: "The number does not exist."})
	p.add(p.between(60, 180), "sms.to corrected", func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
		_, err := cl.UpdateSession(ctx, key, client.SessionUpdate{SMS: &client.SMS{To: phone + "1"}})
		return wire.SessionChange{}, err
	})
	report(p.between(2, 8), client.SMSReport{Status: "success"})
}

// photo captures a photo until it is accepted, or types its value instead.
func (p *planner) photo(step callbackd.PhotoStep, reject float64) {
	add := func(result string, ph client.NewPhoto) {
		ph.PhotoCode = step.Code
		p.add(p.between(8, 25), step.Label+" "+result, func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
			if ph.URL != "" {
				ph.URL = fmt.Sprintf(ph.URL, key)
			}
			return cl.AddPhoto(ctx, key, ph)
		})
	}
	if step.Typed && p.Float64() < 0.2 {
		value := newVIN(p.Rand)
		if step.Code == callbackd.StepCluster {
			value = fmt.Sprint(1000 + p.IntN(200_000))
		}
		add("typed", client.NewPhoto{Typed: value})
		return
	}
	for shot := 1; ; shot++ {
		url := fmt.Sprintf("https://photos.example.com/%%s/%d-%d.jpg", step.Code, shot)
		if p.Float64() >= reject {
			add("accepted", client.NewPhoto{URL: url, Approved: true})
			return
		}
		reason := reasons[p.IntN(len(reasons))]
		add("rejected: "+reason, client.NewPhoto{URL: url, ApprovedMessage: reason})
	}
}

func (p *planner) note(step callbackd.PhotoStep) {
	n := client.NewNote{Title: "Scratch", Description: fmt.Sprintf("Seen on %s, %d cm", step.Label, 1+p.IntN(20)), InsertedBy: "inspector"}
	p.add(p.between(5, 15), "note", func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
		return cl.AddNote(ctx, key, n)
	})
}

// finish confirms and completes the session.
func (p *planner) finish() {
	grade := 1 + p.IntN(5)
	p.add(p.between(30, 90), "results", func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
		return cl.PutResults(ctx, key, results(key, grade))
	})
	p.add(p.between(15, 120), "complete", func(ctx context.Context, cl *client.Client, key string) (wire.SessionChange, error) {
		return cl.CompleteSession(ctx, key)
	})
}

// results returns the results that a platform stores: the members beside the session in
// the event COMPLETE, and the user's account.
func results(key string, grade int) map[string]any {
	return map[string]any{
		"session":  map[string]any{"user_account": map[string]any{"username": "jane.smith", "first_name": "Jane", "last_name": "Smith"}},
		"vehicle":  map[string]any{"make": "Nissan", "model": "Rogue", "year": 2017},
		"location": map[string]any{"city": "Toronto", "country": "CA"},
		"inspection": map[string]any{
			"damages_overview": map[string]any{"total": 0}, "detected_damages": []any{}, "detected_status": "NO_DAMAGE",
			"grading": map[string]any{"standard_A": grade}, "annotated_images": []any{}, "case_details": nil,
		},
		"condition_report": "https://reports.example.com/" + key,
		"landing_page":     "https://dashboard.example.com/sessions/" + key,
	}
}

func newVIN(r *rand.Rand) string {
	const digits = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
	b := make([]byte, callbackd.VINLength)
	for i := range b {
		b[i] = digits[r.IntN(len(digits))]
	}
	return string(b)
}

package storetest

import (
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var eventTypeTests = map[string]func(*suite){
	"OwnEventTypes":           (*suite).ownEventTypes,
	"OwnEventTypesAreNumbers": (*suite).manyEventTypes,
	"UnknownEventType":        (*suite).unknownEventType,
}

const own1, own2 = callbackd.EventType("VEHICLE:ARRIVED"), callbackd.EventType("AUCTION:ENDED")

func (s *suite) ownEventTypes() {
	s.must(s.AddEventTypes(s.ctx(), []callbackd.EventType{own1}))
	cb := s.newCallback(s.key, own1, "default")
	other := s.newCallback(s.key, ev1, "default")
	first := s.publish(s.key, own1, "S", "T")
	s.equal("its targets", first[0].Targets, []callbackd.CallbackID{cb.ID})
	s.equal("targets of another type", s.publish(s.key, ev1, "S")[0].Targets, []callbackd.CallbackID{other.ID})
	s.must(s.AddEventTypes(s.ctx(), []callbackd.EventType{own2, own1}))
	second := s.newCallback(s.key, own2, "default")
	s.equal("targets of the second type", s.publish(s.key, own2, "S")[0].Targets, []callbackd.CallbackID{second.ID})
	for range 2 {
		s.equal("deliveries that it owes", len(s.fresh(cb.ID)), 2)
		s.equal("the type in the queue", s.fresh(cb.ID)[0].Event.Type, own1)
		ev, err := s.Event(s.ctx(), s.key.ID, first[0].ID)
		s.must(err)
		s.equal("the type of the event", ev.Type, own1)
		found, err := store.CallbackNamed(s.ctx(), s, s.key.ID, own1, "default")
		s.must(err)
		s.equal("the callback of the type", found.ID, cb.ID)
		list, err := s.ListEvents(s.ctx(), store.EventQuery{Key: s.key.ID, Type: own1, Limit: 10})
		s.must(err)
		s.equal("listed events of the type", len(list.Events), 2)
		list, err = s.ListEvents(s.ctx(), store.EventQuery{Key: s.key.ID, Type: "NEVER:ADDED", Limit: 10})
		s.must(err)
		s.equal("listed events of a type that was never added", len(list.Events), 0)
		callbacks, err := s.ListCallbacks(s.ctx(), store.CallbackQuery{Key: s.key.ID, Event: own2})
		s.must(err)
		s.equal("listed callbacks of the second type", len(callbacks.Callbacks), 1)
		deliveries, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Type: own1, Limit: 10})
		s.must(err)
		s.equal("listed deliveries of the type", len(deliveries.Deliveries), 2)
		s.reopen()
	}
}

// Types that are added in small steps, some of them again, keep their numbers.
func (s *suite) manyEventTypes() {
	var types []callbackd.EventType
	for i := range 120 {
		types = append(types, callbackd.EventType(fmt.Sprintf("TYPE:N%d", i)))
		if i%40 == 39 {
			s.must(s.AddEventTypes(s.ctx(), types))
		}
	}
	for _, t := range []callbackd.EventType{types[0], types[39], types[40], types[119]} {
		ev := s.publish(s.key, t, "S")[0]
		s.reopen()
		got, err := s.Event(s.ctx(), s.key.ID, ev.ID)
		s.must(err)
		s.equal("the type", got.Type, t)
	}
}

func (s *suite) unknownEventType() {
	_, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: "S", Data: []byte("{}")}, {Type: own1, Session: "S", Data: []byte("{}")}}})
	s.kind(err, callbackd.KindInvalid)
	_, _, err = s.CreateCallback(s.ctx(), callbackd.Callback{Key: s.key.ID, Event: own1, Name: "default", URL: "https://a.example/h", Method: "POST", Payload: []byte("{}")}, s.at)
	s.kind(err, callbackd.KindInvalid)
	s.equal("events of the refused batch", len(s.publish(s.key, ev1, "S")), 1)
	_, err = store.CallbackNamed(s.ctx(), s, s.key.ID, own1, "default")
	s.kind(err, callbackd.KindNotFound)
	s.at = s.at.Add(time.Second)
}

package api_test

import (
	"callbackd/wire"
)

// deliveryOf is the id of the one delivery of an event.
func (s *server) deliveryOf(ev published) string {
	s.t.Helper()
	e := decode[wire.Event](s.call("GET", "/v1/events/"+ev.ID, "").ok(200))
	if len(e.Deliveries) != 1 {
		s.t.Fatalf("event %s has deliveries %v", ev.ID, e.Deliveries)
	}
	return e.Deliveries[0]
}

func (s *server) delivery(id string) wire.Delivery {
	s.t.Helper()
	return decode[wire.Delivery](s.call("GET", "/v1/deliveries/"+id, "").ok(200))
}

func (s *server) deliveries(query string) wire.DeliveryList {
	s.t.Helper()
	return decode[wire.DeliveryList](s.call("GET", "/v1/deliveries"+query, "").ok(200))
}

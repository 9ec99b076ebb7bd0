package console

import (
	"callbackd"
	"callbackd/internal/store"
	"net/http"
)

type chart struct {
	Label string
	Bars  []bar
}

func (c *Console) rowStats(v *visit, rows []webhookRow) error { return nil }

func (c *Console) webhookStats(v *visit, p *webhookPage) error {
	page, err := c.Store.ListDeliveries(v.Context(), store.DeliveryQuery{Key: p.CB.Key, Callback: p.CB.No, State: callbackd.Pending, Limit: store.MaxPage})
	p.Pending, p.PendingMore = int64(len(page.Deliveries)), page.Next != callbackd.DeliveryID{}
	return err
}

func (c *Console) overview(w http.ResponseWriter, v *visit) error {
	http.Redirect(w, v.Request, Root+"/deliveries", http.StatusSeeOther)
	return nil
}

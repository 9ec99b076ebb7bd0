package storetest

import (
	"encoding/json"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// eraseGroup erases in two API keys with one order. Its receipt has the sums and the hash of
// each key's receipt, and stays the same; no part of it is started when one key refuses.
func (s *suite) eraseGroup() {
	other := s.newKey("k2")
	for _, k := range []callbackd.Key{s.key, other} {
		s.publish(k, ev1, "of a person", "of another")
	}
	order := callbackd.Erase{By: callbackd.EraseSession, CreatedAt: s.at}
	keys := []callbackd.KeyID{s.key.ID, other.ID}
	g, err := s.CreateErases(s.ctx(), order, keys, "of a person")
	s.must(err)
	s.equal("the keys", []callbackd.KeyID{g.Erases[0].Key, g.Erases[1].Key}, keys)
	s.stepped(g.Erases[0].ID)
	now, err := s.EraseGroup(s.ctx(), g.ID)
	s.must(err)
	receipt, err := now.Receipt()
	s.must(err)
	s.equal("while one runs", []any{now.Keys, now.Running(), now.EndedAt(), receipt}, []any{2, true, time.Time{}, []byte(nil)})
	s.stepped(g.Erases[1].ID)
	s.reopen()
	now, err = s.EraseGroup(s.ctx(), g.ID)
	s.must(err)
	s.equal("the sums", now.Counts(), callbackd.EraseCounts{Sessions: 2, Events: 2})
	receipt, err = now.Receipt()
	s.must(err)
	var members map[string]any
	s.must(json.Unmarshal(receipt, &members))
	canonical, err := json.Marshal(members)
	s.must(err)
	s.equal("the receipt is canonical", string(receipt), string(canonical))
	for i, k := range []string{"k1", "k2"} {
		e := &now.Erases[i]
		s.equal("what it says of "+k, members["erases"].([]any)[i], any(map[string]any{"api_key": k, "id": e.ID.String(), "receipt_sha256": callbackd.ReceiptHash(e.Receipt)}))
	}
	now.Keys++
	receipt, err = now.Receipt()
	s.equal("the receipt when one is no longer stored", []any{receipt, err}, []any{[]byte(nil), nil})

	for range callbackd.MaxErases {
		s.must(second(s.CreateErase(s.ctx(), callbackd.Erase{Key: other.ID, By: callbackd.EraseSession, CreatedAt: s.at}, "S")))
	}
	s.kind(second(s.CreateErases(s.ctx(), order, keys, "of a person")), callbackd.KindLimited)
	page, err := s.ListErases(s.ctx(), store.EraseQuery{Key: s.key.ID, Limit: 10})
	s.must(err)
	s.equal("the erasures of the key that did not refuse", len(page.Erases), 1)
	s.eraseGroups(g.ID, keys)
	s.kind(second(s.EraseGroup(s.ctx(), 0)), callbackd.KindNotFound)
	s.kind(second(s.EraseGroup(s.ctx(), 1)), callbackd.KindNotFound)
}

// eraseGroups erases what a dry run over all keys has counted, in its keys and for its value only,
// and lists the groups, the newest first. before is the one that is stored already.
func (s *suite) eraseGroups(before callbackd.EraseGroupID, keys []callbackd.KeyID) {
	third := s.newKey("k3")
	order := callbackd.Erase{By: callbackd.ErasePhone, CreatedAt: s.at, DryRun: true}
	dry, err := s.CreateErases(s.ctx(), order, []callbackd.KeyID{keys[0], third.ID}, "15555550100")
	s.must(err)
	order.DryRun, order.Group = false, dry.ID
	s.kind(second(s.CreateErases(s.ctx(), order, nil, "15555550100")), callbackd.KindConflict) // it has not ended
	for i := range dry.Erases {
		s.stepped(dry.Erases[i].ID)
	}
	s.kind(second(s.CreateErases(s.ctx(), order, nil, "15555550199")), callbackd.KindInvalid)
	made, err := s.CreateErases(s.ctx(), order, keys, "15555550100")
	s.must(err)
	s.equal("the keys are those of the dry run", []callbackd.KeyID{made.Erases[0].Key, made.Erases[1].Key}, []callbackd.KeyID{keys[0], third.ID})
	s.equal("it is a group of its own", []any{made.ID > dry.ID, made.Keys, made.Erases[0].DryRun}, []any{true, 2, false})
	order.Group = made.ID
	s.kind(second(s.CreateErases(s.ctx(), order, nil, "15555550100")), callbackd.KindConflict) // it is no dry run
	order.Group = 1
	s.kind(second(s.CreateErases(s.ctx(), order, nil, "15555550100")), callbackd.KindNotFound)

	var ids []callbackd.EraseGroupID
	for q := (store.EraseGroupQuery{Limit: 2}); ; {
		page, err := s.ListEraseGroups(s.ctx(), q)
		s.must(err)
		for i := range page.Groups {
			g := &page.Groups[i]
			one, err := s.EraseGroup(s.ctx(), g.ID)
			s.must(err)
			s.equal("a group in the list", g, one)
			ids = append(ids, g.ID)
		}
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	s.equal("the groups", ids, []callbackd.EraseGroupID{made.ID, dry.ID, before})
}

package core

import "strings"

// Dialect holds what the databases cannot say alike. A statement takes the
// difference from here; no rule asks which database it runs on.
type Dialect struct {
	// InList tests whether the column before it is in a list of integers or
	// texts; @ stands for the parameter. See [Dialect.In].
	InList string
	// PairsOf makes a table, o, of a list of pairs of integers. @ stands for the
	// parameter, COLUMN1 and COLUMN2 for the
	// names of the columns. See [Dialect.Pairs].
	PairsOf string
	// KeyEvents and SessionEvents are the events, for FROM, in the order of an
	// index: by key_no and id, and by key_no, session and sequence, which within
	// a session is the order of ids too.
	KeyEvents, SessionEvents string
	// SessionIndex is the table of the index of SessionEvents, and SessionOrder its
	// order.
	SessionIndex, SessionOrder string
	// SessionVIN is the VIN of a session, as its index has it.
	SessionVIN string
	// IndexedBy follows a table in FROM and names the index by which it is read;
	// INDEX_NAME stands for it. See [Dialect.By].
	IndexedBy string
	// LookupIn joins the rows of a table, each found by an index from the row
	// before it, never the other way around. TABLE, ALIAS and COND stand for
	// the arguments of [Dialect.Lookup].
	LookupIn string
	// LookupOrNullIn is LookupIn that keeps a row that leads to no other, with
	// NULL in the place of that one. See [Dialect.LookupOrNull].
	LookupOrNullIn string
	// Lock follows a SELECT whose rows must stay as they are until the end of
	// the transaction. LockShared lets other transactions hold LockShared too.
	// SkipLocked also leaves out rows that another transaction holds. SQLite
	// has one writer and needs none.
	Lock, LockShared, SkipLocked string
	// NextCallback is a statement that returns the next ID of a callback.
	// InsertNumbered follows the columns of an INSERT that gives the number.
	NextCallback, InsertNumbered string
	// SetRevision follows the assignments of an UPDATE of keys or callbacks;
	// RevisionColumn and RevisionValue follow the columns and values of an
	// INSERT. PostgreSQL numbers these changes, see [Settings].
	SetRevision, RevisionColumn, RevisionValue string
	// Count is a statement that adds $2 to the count of deliveries $1. Transactions of
	// PostgreSQL add rows, so that none waits for another.
	Count string
	// AddCounts adds a column of [store.Counts] of the table slots and of the row that
	// is inserted; @ stands for the column.
	AddCounts string
	// Sealed lists the columns with sealed values that only this database has.
	Sealed []SealedColumn
}

// In returns the test that a column is in the list param: "id " + d.In("$1").
func (d *Dialect) In(param string) string {
	return strings.ReplaceAll(d.InList, "@", param)
}

// Pairs returns the table o (callback_no, event_id) of the deliveries that param
// lists, for FROM. [pairs] makes the argument.
func (d *Dialect) Pairs(param string) string {
	return d.PairsAs(param, "callback_no", "event_id")
}

// PairsAs returns the table o of the pairs of integers that param lists, with
// columns of these names, for FROM. [pairList] makes the argument.
func (d *Dialect) PairsAs(param, first, second string) string {
	return strings.NewReplacer("@", param, "COLUMN1", first, "COLUMN2", second).Replace(d.PairsOf)
}

// By returns a table, for FROM, that is read by an index.
func (d *Dialect) By(table, index string) string {
	return table + strings.ReplaceAll(d.IndexedBy, "INDEX_NAME", index)
}

// addCounts returns the expression that adds a column of counts.
func (d *Dialect) addCounts(column string) string {
	return strings.ReplaceAll(d.AddCounts, "@", column)
}

// newestOrder returns an order the other way around, for ORDER BY.
func newestOrder(order string) string {
	return strings.ReplaceAll(order, ",", " DESC,") + " DESC"
}

// Lookup returns the join of a table, under an alias, with what stands before it
// in FROM. An index must lead from there to the rows that cond names.
func (d *Dialect) Lookup(table, alias, cond string) string {
	return lookup(d.LookupIn, table, alias, cond)
}

// LookupOrNull is Lookup that keeps what has no row in the table.
func (d *Dialect) LookupOrNull(table, alias, cond string) string {
	return lookup(d.LookupOrNullIn, table, alias, cond)
}

func lookup(join, table, alias, cond string) string {
	return strings.NewReplacer("TABLE", table, "ALIAS", alias, "COND", cond).Replace(join)
}

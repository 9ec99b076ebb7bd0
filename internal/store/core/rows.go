package core

import (
	"fmt"
	"strings"
)

// insert adds a row to a table.
func insert(tx Execer, table string, columns []Column) error {
	names, params, args := make([]string, len(columns)), make([]string, len(columns)), make([]any, len(columns))
	for i, c := range columns {
		names[i], params[i], args[i] = c.Name, fmt.Sprintf("$%d", i+1), c.Value
	}
	_, err := tx.Exec("INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(params, ", ")+")", args...)
	return err
}

// update changes columns of the row with an ID.
func update(tx Execer, table string, columns []Column, id int64) error {
	sets, args := make([]string, len(columns)), []any{id}
	for i, c := range columns {
		sets[i] = fmt.Sprintf("%s = $%d", c.Name, i+2)
		args = append(args, c.Value)
	}
	_, err := tx.Exec("UPDATE "+table+" SET "+strings.Join(sets, ", ")+" WHERE no = $1", args...)
	return err
}

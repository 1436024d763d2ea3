package sql

import "postern/internal/table"

// ListAtMost changes how many rows of a SQLite table are listed.
func ListAtMost(t table.Table, rows int) { t.(*sqliteTable).most = rows }

package sql

import "strings"

// comparison is how a database compares a key with a column.
type comparison uint8

const (
	unknown  comparison = iota // it may have its own idea of what is equal
	caseless                   // texts of printable ASCII are equal when they differ in case at most
	exact                      // texts are equal when their bytes are
)

// comparisonOf reads the cell of a test.
func comparisonOf(c cell) comparison {
	switch c.text {
	case "2", "t", "true":
		return exact
	case "1":
		return caseless
	}
	return unknown
}

// collations of MySQL and MariaDB of which it is known that printable ASCII is
// compared without regard to case, and nothing else is equal.
var collations = []string{
	"ascii_general_ci", "latin1_general_ci", "latin1_swedish_ci", "utf8_general_ci", "utf8_unicode_ci",
	"utf8mb3_general_ci", "utf8mb3_unicode_ci", "utf8mb3_uca1400_ai_ci", "utf8mb4_0900_ai_ci", "utf8mb4_0900_as_ci",
	"utf8mb4_general_ci", "utf8mb4_unicode_520_ci", "utf8mb4_unicode_ci", "utf8mb4_uca1400_ai_ci", "utf8mb4_uca1400_as_ci",
}

// mysqlTest asks for the collation. A number has none of those.
func mysqlTest(left string) string {
	return "CASE WHEN COLLATION(" + left + ") IN ('" + strings.Join(collations, "','") + "') THEN 1 ELSE 0 END"
}

// pgsqlTest asks for the type, text or varchar, and the collation.
func pgsqlTest(left string) string {
	return "CASE WHEN pg_typeof(" + left + ")::oid IN (25, 1043) THEN pg_collation_for(" + left +
		`) IN ('"default"', '"C"', '"POSIX"') ELSE false END`
}

// sqliteTest looks at the text itself: a column may have a collation of its own, and
// what that does to case and to final blanks shows in every row where it matters.
func sqliteTest(left string) string {
	l := "(" + left + ")"
	return "2 * (typeof" + l + " = 'text' AND (" + l + " = upper" + l + ") = (" + l + " = upper" + l + " COLLATE BINARY) AND (" +
		l + " = lower" + l + ") = (" + l + " = lower" + l + " COLLATE BINARY) AND " + l + " <> " + l + " || ' ')"
}

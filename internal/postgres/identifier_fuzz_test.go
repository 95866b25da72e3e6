package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

// FuzzQuoteOnTheServer has PostgreSQL's own scanner read quoted names back, as
// the name of a column: one that ended early would be an error or another name.
func FuzzQuoteOnTheServer(f *testing.F) {
	lab := labtest.Open(f)
	for _, name := range []string{"app", `"`, `""`, `a"; DROP ROLE x; --`, "é", "$1", "E'\\'", "U&\"d\"", "a\nb", "\u202e"} {
		f.Add(name)
	}
	var conn *pgx.Conn // one of each process of the fuzzer
	f.Fuzz(func(t *testing.T, name string) {
		if nameable(name) != nil {
			return
		}
		if conn == nil {
			var err error
			if conn, err = pgx.Connect(t.Context(), lab.PostgresURL); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := conn.Query(t.Context(), "SELECT 1 AS "+quote(name), pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		if !rows.Next() || len(rows.FieldDescriptions()) != 1 || rows.FieldDescriptions()[0].Name != name {
			t.Errorf("%q reads back as %v: %v", name, rows.FieldDescriptions(), rows.Err())
		}
	})
}

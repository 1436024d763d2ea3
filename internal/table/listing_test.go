package table_test

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table"
	"postern/internal/table/compose"
)

// front is a table in front of another one.
type front struct{ table.Table }

func (f front) Unwrap() table.Table { return f.Table }

// enumerable is a table that can list its rows.
type enumerable struct{ table.Table }

func (enumerable) All(context.Context) iter.Seq2[table.Entry, error] { return nil }

func TestAs(t *testing.T) {
	for name, tt := range map[string]struct {
		table table.Table
		want  bool
	}{
		"itself": {enumerable{}, true}, "behind two": {front{front{enumerable{}}}, true},
		"nobody": {front{nil}, false}, "nothing": {nil, false},
	} {
		if _, ok := table.As[table.Enumerable](tt.table); ok != tt.want {
			t.Errorf("%s: %v, want %v", name, ok, tt.want)
		}
	}
}

func TestItems(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("# none\nIn.example !out.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := &table.Opener{Types: map[string]table.Constructor{"inline": compose.Inline}}
	list, _ := o.List(t.Context(), "A.example !b.example !"+dir+"/file inline:{C=d} nothing:x /none", table.StringList, false, table.Use{Parameter: "mydestination"})
	type item struct {
		Text                  string
		Line                  int
		Negated, Table, Fails bool
	}
	var got []item
	for it := range list.Items() {
		got = append(got, item{it.Text, it.At.Line, it.Negated, it.Table != nil, it.Err != nil})
	}
	want := []item{{Text: "a.example"}, {Text: "b.example", Negated: true}, {Text: "in.example", Line: 2, Negated: true}, {Text: "out.example", Line: 2},
		{Text: "inline:{C=d}", Table: true}, {Text: "nothing:x", Table: true}, {Text: "/none", Fails: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for range (*table.List)(nil).Items() {
		t.Error("no list has an item")
	}
}

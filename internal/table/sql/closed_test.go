package sql

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/tabletest"
)

// TestClosedDatabase: a database that the process may not read is an error that
// says what to do, for nobody can open it for the process.
func TestClosedDatabase(t *testing.T) {
	dir, helper, as := tabletest.Closed(t)
	for name, text := range map[string]string{"t.cf": "dbpath = " + dir + "/mail.db\nquery = SELECT 1\n", "mail.db": ""} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	as(func() {
		_, err := SQLite(context.Background(), &table.Opener{Helper: helper}, dir+"/t.cf", table.Use{})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "t.cf, line 1: dbpath: ") ||
			!strings.Contains(err.Error(), "give that user the right to read the file") {
			t.Errorf("error %v", err)
		}
	})
}

// TestClosedOptions: option files that the process may not read are read by the
// helper, and so are those that they include.
func TestClosedOptions(t *testing.T) {
	dir, helper, as := tabletest.Closed(t)
	if err := os.Mkdir(dir+"/more", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"my.cnf": "[client]\nuser = one\n!include b\n!includedir more\n", "b": "[client]\nb = 1\n",
		"more/1.cnf": "[client]\nuser = two\n", "more/2": "[client]\nuser = three\n", "more/0.cnf": "[client]\nuser = zero\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []func(string) (*os.File, error){helper, nil} {
		r := &optionReader{opener: &table.Opener{Helper: h}, groups: []string{"client"}, values: map[string]string{}}
		var err error
		as(func() { err = r.readFile(dir+"/my.cnf", 0) })
		if h == nil {
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("without the helper: %v", err)
			}
		} else if want := map[string]string{"user": "two", "b": "1"}; err != nil || !maps.Equal(r.values, want) {
			t.Errorf("options %v, %v, want %v", r.values, err, want)
		}
	}
}

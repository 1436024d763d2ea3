package ldap_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"postern/internal/table"
	"postern/internal/table/ldap"
	"postern/internal/table/tabletest"
)

// recorder keeps what is logged.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Infof(format string, args ...any) { r.Warningf("info: "+format, args...) }

func (r *recorder) Warningf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// write makes t.cf in a new directory.
func write(t testing.TB, cf string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(dir+"/t.cf", []byte(cf), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens a table of that configuration.
func open(t testing.TB, o *table.Opener, cf string, use table.Use) table.Table {
	t.Helper()
	tab, err := ldap.Open(context.Background(), o, write(t, cf)+"/t.cf", use)
	if err != nil {
		t.Fatalf("open %s: %v", cf, err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

// ask returns the value of a key, "-" when it is not found, and "error" when
// the lookup failed.
func ask(t testing.TB, tab table.Table, key string) string {
	t.Helper()
	got, err := tab.Lookup(context.Background(), key)
	var e *table.Error
	switch {
	case err == nil:
		return got.Value
	case err == table.ErrNotFound:
		return "-"
	case errors.As(err, &e):
		return "error"
	}
	t.Fatalf("Lookup(%q): %v is no *table.Error", key, err)
	return ""
}

func TestConformance(t *testing.T) {
	s := directory(t)
	tabletest.Run(t, func(t *testing.T, use table.Use, rows []tabletest.Row) table.Table {
		base := s.branch(t)
		for i, r := range rows {
			s.add(t, fmt.Sprintf("cn=%d,%s", i, base), "objectClass", "post", "postKey", r.Key, "postValue", r.Value)
		}
		return open(t, &table.Opener{}, strings.Join([]string{
			"server_host = " + s.address, "version = 3", "search_base = " + base,
			"query_filter = (&(objectClass=post)", "  (postKey=%s) )", "result_attribute = postValue", "",
		}, "\n"), use)
	})
}

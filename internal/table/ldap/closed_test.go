package ldap

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"postern/internal/table"
	"postern/internal/table/tabletest"
	"postern/internal/tlsconf/tlstest"
)

// TestClosedKey: a certificate and key that the process may not read are read by
// the helper.
func TestClosedKey(t *testing.T) {
	dir, helper, as := tabletest.Closed(t)
	cert, key := tlstest.New(t).Issue(t, "client.example")
	for name, text := range map[string][]byte{"cert": cert, "key": key} {
		if err := os.WriteFile(dir+"/"+name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	as(func() {
		if pair, err := keyPair(&table.Opener{Helper: helper}, dir+"/cert", dir+"/key"); err != nil || len(pair.Certificate) == 0 {
			t.Errorf("by the helper: %v", err)
		}
		if _, err := keyPair(&table.Opener{}, dir+"/cert", dir+"/key"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("without the helper: %v", err)
		}
		if _, err := keyPair(&table.Opener{Helper: helper}, dir+"/cert", dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a key that is not there: %v", err)
		}
	})
}

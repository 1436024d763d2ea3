package tables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/check/inventory"
	"postern/internal/table/builtin"
	"postern/internal/table/index"
)

// TestContents: the index of tls_server_sni_maps has what the files of a row held when it
// was built.
func TestContents(t *testing.T) {
	const archive = `
-- main.cf --
tls_server_sni_maps = lmdb:{dir}/sni
-- sni --
mail.a.test {dir}/rsa.key, {dir}/rsa.crt
mail.b.test {dir}/ec.key {dir}/ec.crt
-- rsa.key --
key R
-- rsa.crt --
certificate R
-- ec.key --
key E
-- ec.crt --
certificate E
`
	tests := []struct {
		name  string
		old   bool              // the index
		files map[string]string // that are written behind it; an empty one is removed
		plain bool              // built without -F
		want  []string
	}{
		{name: "as built", want: []string{}},
		{name: "only older", old: true, want: []string{"VD302 info sni.lmdb"}},
		{name: "the same and a newline", files: map[string]string{"rsa.crt": "certificate R\n\n"}, want: []string{}},
		{name: "other files in the row", old: true, files: map[string]string{"sni": "mail.a.test {dir}/ec.key {dir}/ec.crt\nmail.b.test {dir}/ec.key {dir}/ec.crt\n"}, want: []string{"VD302 warning sni:1"}},
		{name: "the names in another way", old: true, files: map[string]string{"sni": "mail.a.test {dir}/rsa.key {dir}/./rsa.crt\nmail.b.test {dir}/ec.key {dir}/ec.crt\n"}, want: []string{"VD302 info sni.lmdb"}},
		{name: "a new row", old: true, files: map[string]string{"sni": "mail.a.test {dir}/rsa.key {dir}/rsa.crt\nmail.b.test {dir}/ec.key {dir}/ec.crt\nc.test {dir}/ec.key\n"}, want: []string{"VD302 warning sni:3"}},
		{name: "a file that is not there", old: true, files: map[string]string{"sni": "mail.a.test {dir}/no.key\nmail.b.test {dir}/ec.key {dir}/ec.crt\n"}, want: []string{"VD302 warning sni:1"}},
		{name: "renewed", files: map[string]string{"ec.crt": "certificate E2\n"}, want: []string{"VD302 warning sni:2"}},
		{name: "renewed and the index older", old: true, files: map[string]string{"ec.crt": "certificate E2\n"}, want: []string{"VD302 warning sni:2"}},
		{name: "removed behind it", files: map[string]string{"rsa.key": ""}, want: []string{}},
		{name: "content in the row", old: true, plain: true, files: map[string]string{"sni": "mail.a.test S2V5IFI=\nmail.b.test {dir}/ec.key {dir}/ec.crt\n"}, want: []string{"VD302 warning sni:1"}},
		{name: "without -F", plain: true, want: []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, archive)
			path := filepath.Join(h.dir, "sni")
			b := &index.Builder{Format: builtin.Formats()["lmdb"], Path: path, Fold: true, Files: !tt.plain}
			if err := b.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, text := range tt.files {
				h.put(name, text)
			}
			built := time.Now().Add(time.Hour)
			if tt.old {
				built = built.Add(-3 * time.Hour)
			}
			if err := os.Chtimes(path+".lmdb", built, built); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, h.examine()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestInlineContents: values that an index has as the text has them are compared as they
// are.
func TestInlineContents(t *testing.T) {
	h := build(t, "-- main.cf --\ntls_server_sni_maps = cdb:{dir}/sni\n-- sni --\nmail.a.test S2V5IFI=\nmail.b.test S2V5IEU=\n")
	h.postmap("cdb", "sni")
	h.put("sni", "mail.a.test S2V5IFI=\nmail.b.test S2V5IFI=\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(h.dir, "sni.cdb"), old, old); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"VD302 warning sni:2"}, h.examine()); diff != "" {
		t.Error(diff)
	}
}

// TestCompare: what can be said of a value.
func TestCompare(t *testing.T) {
	h := build(t, "-- main.cf --\ntls_server_sni_maps = texthash:{dir}/sni\n-- sni --\nmail.a.test x\n-- key --\nkey R")
	i := inventory.New(h.open())
	x, sni := newExamination(i), i.Of(t.Context(), "tls_server_sni_maps")[0]
	sni.Uses = []inventory.Use{{Parameter: "tls_server_sni_maps"}}
	for text, want := range map[string]likeness{
		"S2V5IFI=": equalValues, "S2V5IEU=": differing, h.dir: differing, h.dir + "/key": differing,
		"certs/mail.key": unread, h.dir + "/none.key": missingFile,
	} {
		if got := x.compare(sni, "S2V5IFI=", text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if got := x.compare(sni, "a2V5IFI=", h.dir+"/key"); got != equalValues {
		t.Errorf("the content of the file: %v", got)
	}
}

// put writes a file, or removes it when the text is empty.
func (h *house) put(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if text == "" {
		if err := os.Remove(path); err != nil {
			h.t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "{dir}", h.dir)), 0o640); err != nil {
		h.t.Fatal(err)
	}
}

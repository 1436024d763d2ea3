package text_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/table/text"
)

const rowsSample = `# comment
john@example.test   john/
Jack@Example.TEST  two   words  
"two words"@example.test  x
"a\"b" y
a\ b c
info@example.test a,
# in between

	b, c
novalue
"open quote x
al: bob
KEY one
key two
@example.test catch
  all
` + "crlf value\r\nÄÖ@example.test v\nbad\xff x\nvalue \xff\nnul x\x00y\n"

const aliasSample = `postmaster: root
"a b": x, "|cmd arg"
Foo: :include:/x,
  y
foo: dup
nov:
noc
a@b.test: c
"q@r": d
x :  y
"x\"y": z
/file: z
:include:/foo: bar
a,b: c
`

// The rows of a file are those that postmap and postalias store.
func TestLikePostfix(t *testing.T) {
	tests := []struct {
		program, sample string
		alias           bool
	}{
		{"postmap", rowsSample, false},
		{"postalias", aliasSample, true},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			if _, err := exec.LookPath(tt.program); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			dir := t.TempDir()
			write(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\nqueue_directory = "+dir+"\n")
			path := filepath.Join(dir, "sample")
			write(t, path, tt.sample)
			run(t, tt.program, "-c", dir, "hash:"+path)
			want := map[string]string{}
			for line := range strings.Lines(run(t, tt.program, "-c", dir, "-s", "hash:"+path)) {
				key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
				if tt.alias { // shown as "name:"
					key = strings.TrimSuffix(key, ":")
				}
				if !strings.HasPrefix(key, "YP_") && key != "@" { // marks that postalias adds
					want[key] = value
				}
			}
			c, err := text.Parse(path, []byte(tt.sample), text.Options{Alias: tt.alias, Fold: true, UTF8: true})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for e := range c.All() {
				got[e.Key] = e.Value
				if tt.alias { // postalias puts single blanks between addresses
					got[e.Key] = strings.Join(strings.Fields(e.Value), " ")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
				t.Errorf("rows (-%s +ours):\n%s", tt.program, diff)
			}
		})
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

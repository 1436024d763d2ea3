package mailbox

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/route"
)

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
	own(t, name)
}

// TestConfined shows which symbolic links a delivery follows.
func TestConfined(t *testing.T) {
	const name = "/new/" + stem + ".mx.example"
	tests := []struct {
		name    string
		prepare func(t *testing.T, base, outside string)
		want    string // where the file is, below base
		reason  string // BASE stands for the base directory
	}{
		{"inside, relative", func(t *testing.T, base, outside string) {
			mkdir(t, base+"/real")
			link(t, "real", base+"/john")
		}, "real", ""},
		{"inside, up and down", func(t *testing.T, base, outside string) {
			mkdir(t, base+"/a")
			mkdir(t, base+"/b/john")
			link(t, "../b/john", base+"/a/john")
			link(t, "a/john", base+"/john")
		}, "b/john", ""},
		{"inside, absolute", func(t *testing.T, base, outside string) {
			mkdir(t, base+"/real")
			link(t, base+"/real", base+"/john")
		}, "", "path BASE/john/tmp leaves its base directory BASE"},
		{"outside, absolute", func(t *testing.T, base, outside string) {
			link(t, outside, base+"/john")
		}, "", "path BASE/john/tmp leaves its base directory BASE"},
		{"outside, relative", func(t *testing.T, base, outside string) {
			link(t, "../outside", base+"/john")
		}, "", "path BASE/john/tmp leaves its base directory BASE"},
		{"new leads outside", func(t *testing.T, base, outside string) {
			mkdir(t, base+"/john/tmp")
			link(t, outside, base+"/john/new")
		}, "", "path BASE/john/new leaves its base directory BASE"},
		{"nowhere", func(t *testing.T, base, outside string) {
			link(t, "gone", base+"/john")
		}, "", "create maildir BASE/john/tmp: No such file or directory"},
		{"circle", func(t *testing.T, base, outside string) {
			link(t, "john", base+"/john")
		}, "", "open maildir BASE/john/tmp: Too many levels of symbolic links"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := newBase(t)
			outside := filepath.Join(filepath.Dir(base), "outside")
			mkdir(t, outside+"/tmp")
			mkdir(t, outside+"/new")
			tt.prepare(t, base, outside)
			_, err := newStore(t, nil).Deliver(t.Context(), newBox(base, "john", route.Maildir), newMessage())
			if files := tree(t, outside); len(files) != 0 {
				t.Errorf("written outside: %v", files)
			}
			if tt.want == "" {
				dsn := "4.3.5"
				if tt.name == "nowhere" || tt.name == "circle" {
					dsn = "4.2.0"
				}
				wantError(t, err, dsn, true, expand(tt.reason, base))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(base, tt.want) + name); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBaseLink: the base itself may be reached through a symbolic link.
func TestBaseLink(t *testing.T) {
	base := newBase(t)
	alias := filepath.Join(filepath.Dir(base), "alias")
	link(t, base, alias)
	if _, err := newStore(t, nil).Deliver(t.Context(), newBox(alias, "john", route.Maildir), newMessage()); err != nil {
		t.Error(err)
	}
}

// TestWalk is the way without openat2.
func TestWalk(t *testing.T) {
	base := newBase(t)
	mkdir(t, base+"/a/b")
	link(t, "a", base+"/inside")
	link(t, "b", base+"/a/inside")
	fd, err := openBase(base)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for rel, want := range map[string]error{
		".": nil, "./a": nil, "a": nil, "a/b": nil,
		"a/x": unix.ENOENT, "..": unix.EXDEV, "a/../../x": unix.EXDEV,
		"inside": unix.ENOTDIR, "inside/b": unix.ENOTDIR, "a/inside": unix.ENOTDIR,
	} {
		got, err := walk(fd, rel, openDir)
		if err != want {
			t.Errorf("walk(%q) = %v, want %v", rel, err, want)
		}
		if err == nil {
			unix.Close(got)
		}
	}
}

func TestMakeBeneath(t *testing.T) {
	base := newBase(t)
	fd, err := openBase(base)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, rel := range []string{"a", "a/b/c", "a/b/c", "./d/e", "f"} {
		for _, durable := range []bool{false, true} {
			if err := makeBeneath(fd, rel, durable); err != nil {
				t.Errorf("makeBeneath(%q) = %v", rel, err)
			}
		}
		if st, err := os.Stat(filepath.Join(base, rel)); err != nil || !st.IsDir() {
			t.Errorf("%s: %v", rel, err)
		}
	}
}

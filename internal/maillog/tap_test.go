package maillog

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTap(t *testing.T) {
	l, err := Open(Options{Stderr: io.Discard, Socket: filepath.Join(t.TempDir(), "none"), Name: "postfix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got []string
	stop := l.Tap(func(severity, text string) { got = append(got, severity+"|"+text) })
	p := l.Program("smtpd")
	p.Infof("not this")
	p.Warningf("table %s", "hash:x")
	p.Errorf("bad")
	stop()
	p.Warningf("too late")
	if diff := cmp.Diff([]string{"warning|table hash:x", "error|bad"}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

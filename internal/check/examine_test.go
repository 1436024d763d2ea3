package check

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"postern/internal/check/inventory"
	"postern/internal/finding"
	"postern/internal/origin"
	"postern/internal/setup"
)

func open(t *testing.T, main string) *setup.Setup {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(main), 0o644); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir)
}

// reopen opens a directory as it is now.
func reopen(t *testing.T, dir string) *setup.Setup {
	t.Helper()
	s, err := setup.Open(context.Background(), dir, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// one is a room that finds something in a line of main.cf.
func one(name string, severity finding.Severity, line int) room {
	return room{name: name, examine: func(_ context.Context, i *inventory.Inventory, report finding.Report) {
		report(finding.Finding{Code: "VD310", Severity: severity, At: []origin.At{{File: i.Setup.Dir + "/main.cf", Line: line}}})
	}}
}

// TestUnfinished has a room that does not end in time: what it found counts, and it
// is named; one that ends because the time is over is named, too.
func TestUnfinished(t *testing.T) {
	s := open(t, "")
	ctx, over := context.WithCancel(context.Background())
	leave, gone := context.WithCancel(context.Background())
	release := make(chan struct{})
	defer close(release)
	found := make(chan struct{})
	endless := room{name: "endless", examine: func(ctx context.Context, i *inventory.Inventory, report finding.Report) {
		one("", finding.Error, 1).examine(ctx, i, report)
		close(found)
		<-release
	}}
	obedient := room{name: "obedient", examine: func(ctx context.Context, i *inventory.Inventory, report finding.Report) { <-ctx.Done() }}
	x := &examination{dir: s.Dir}
	x.begin([]room{endless, one("quick", finding.Warning, 2), obedient})
	x.start(ctx, inventory.New(s))
	<-found
	for _, w := range x.works {
		if w.name != "endless" && w.name != "obedient" {
			<-w.done
		}
	}
	over()
	<-x.works[2].done
	gone()
	x.wait(leave)
	r := x.result()
	if want := []string{"endless", "obedient"}; !slices.Equal(r.Unfinished, want) {
		t.Errorf("unfinished %q, want %q", r.Unfinished, want)
	}
	if r.Summary.Errors != 1 || r.Summary.Warnings != 1 || !r.Failed() {
		t.Errorf("summary %+v", r.Summary)
	}
	if len(r.Findings) != 2 || r.Findings[0].Severity != finding.Error || r.Findings[0].At[0].File != "main.cf" {
		t.Errorf("findings %+v", r.Findings)
	}
}

// TestNotes: what a server warns of and no code fits.
func TestNotes(t *testing.T) {
	r := Run(context.Background(), open(t, "quite_another_thing = x\n"), Options{})
	if want := []string{"main.cf:1: unused parameter: quite_another_thing=x"}; !slices.Equal(r.Notes, want) {
		t.Errorf("notes %q, want %q", r.Notes, want)
	}
}

// TestDeadDNS names the servers that do not answer: what they were to be asked for was
// not looked at.
func TestDeadDNS(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.LocalAddr().String()
	closed.Close()
	r := Run(context.Background(), open(t, "myhostname = mail.example.test\ndns_servers = "+addr+"\n"), Options{})
	if want := []string{"names in the DNS (no answer from " + addr + ")"}; !slices.Equal(r.Unfinished, want) {
		t.Errorf("unfinished %q, want %q", r.Unfinished, want)
	}
}

// TestProgress goes from 0 to 1, and names what is left.
func TestProgress(t *testing.T) {
	var mu sync.Mutex
	var parts []float64
	Run(context.Background(), open(t, "mydestination = localhost\n"), Options{Progress: func(part float64, _ string) {
		mu.Lock()
		defer mu.Unlock()
		parts = append(parts, part)
	}})
	if len(parts) < 2 || slices.Min(parts) != 0 || slices.Max(parts) != 1 {
		t.Errorf("parts %v", parts)
	}
}

func TestSummary(t *testing.T) {
	r := Run(context.Background(), open(t, `mydestination = localhost
virtual_mailbox_domains = a.test, b.test
virtual_alias_domains = c.test
relay_domains = d.test
virtual_mailbox_maps = inline:{{x@a.test = x/} {y@b.test = y/}}
virtual_alias_maps = nosuch:table
`), Options{})
	if want := (DomainCount{1, 1, 2, 1}); r.Summary.Domains != want {
		t.Errorf("domains %+v, want %+v", r.Summary.Domains, want)
	}
	for _, want := range []TableStatus{{"inline:{{x@a.test = x/} {y@b.test = y/}}", 2, true}, {"nosuch:table", 0, false}} {
		if !slices.Contains(r.Summary.Tables, want) {
			t.Errorf("tables %+v, want %+v among them", r.Summary.Tables, want)
		}
	}
	if !r.Failed() || !slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.Code == "VD304" }) {
		t.Errorf("findings %+v", r.Findings)
	}
}

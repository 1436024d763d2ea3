package mtasts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/dns/dnstest"
	"postern/internal/table"
	"postern/internal/tlsconf/tlstest"
)

// world is a web server and a DNS.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	policy  string // what the web server says; "": 404
	header  http.Header
	status  int
	fetched atomic.Int32
	hold    chan struct{} // not nil: requests wait for it

	ca    *tlstest.CA
	dns   *dnstest.Map
	now   atomic.Int64 // seconds
	log   strings.Builder
	dir   string
	https string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, ca: tlstest.New(t), dir: filepath.Join(t.TempDir(), "cache"),
		dns: &dnstest.Map{TXT: map[string][]string{"_mta-sts.example.test": {"v=STSv1; id=1;"}}, Fail: map[string]bool{}}}
	w.now.Store(1_767_225_600)
	w.set(good)
	s := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	s.TLS = w.ca.Config(t, "mta-sts.example.test", "mta-sts.xn--bcher-kva.test")
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	w.https = s.Listener.Addr().String()
	return w
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.fetched.Add(1)
	if w.hold != nil {
		select {
		case <-w.hold:
		case <-r.Context().Done(): // nobody is there: nothing may be said
			panic(http.ErrAbortHandler)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.URL.Path != "/.well-known/mta-sts.txt" || r.Host != "mta-sts.example.test" && r.Host != "mta-sts.xn--bcher-kva.test" {
		http.NotFound(rw, r)
		return
	}
	for name, values := range w.header {
		rw.Header()[name] = values
	}
	rw.WriteHeader(w.status)
	_, _ = rw.Write([]byte(w.policy)) // a client that went away is no matter
}

// set is what the web server says from now on.
func (w *world) set(policy string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policy, w.status = policy, http.StatusOK
	w.header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
}

func (w *world) Infof(format string, args ...any) { fmt.Fprintf(&w.log, format+"\n", args...) }
func (w *world) Warningf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.log, format+"\n", args...)
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func (w *world) opener() *table.Opener {
	return &table.Opener{Log: w, Now: func() time.Time { return time.Unix(w.now.Load(), 0) }}
}

// open makes a table as a new process would.
func (w *world) open() *stsTable {
	w.t.Helper()
	tab := newTable(w.opener(), "mta-sts:", newFetcher(w.dns, w.ca.Pool, w.https), store{w.dir})
	w.t.Cleanup(func() { tab.Close() })
	return tab
}

func (w *world) pass(d time.Duration) { w.now.Add(int64(d / time.Second)) }

const entry = "secure match=mx1.example.test:.example.net servername=hostname policy_type=sts"

// look is what the table says, "none" when that is "not found".
func look(t *testing.T, tab table.Table, key string) string {
	t.Helper()
	got, err := tab.Lookup(t.Context(), key)
	if err == table.ErrNotFound {
		return "none"
	}
	if err != nil {
		return err.Error()
	}
	if len(got.At) != 1 || got.At[0].IsZero() || got.At[0].Query != "https://mta-sts."+got.At[0].Key+"/.well-known/mta-sts.txt" {
		t.Errorf("Lookup(%q) is at %+v", key, got.At)
	}
	return got.Value
}

func TestLookup(t *testing.T) {
	w := newWorld(t)
	w.dns.TXT["_mta-sts.xn--bcher-kva.test"] = []string{"v=STSv1; id=1;"}
	tab := w.open()
	for _, key := range []string{"example.test", "EXAMPLE.test", "bücher.test", "example.test"} {
		if got := look(t, tab, key); got != entry {
			t.Errorf("Lookup(%q) = %q, want %q", key, got, entry)
		}
	}
	if n := w.fetched.Load(); n != 2 {
		t.Errorf("fetched %d times, want once for each domain", n)
	}
	for _, key := range []string{"", ".example.test", "[example.test]", "example.test:25", "[example.test]:25", "sub.example.test",
		"192.0.2.1", "localhost", "../example.test", "example.test/..", "example.test\x00", "user@example.test", strings.Repeat("a.", 200) + "test",
		strings.Repeat("x", 20<<10), "ex ample.test", "-.test", "\xff.test", "private/lmtp"} {
		if got := look(t, tab, key); got != "none" {
			t.Errorf("Lookup(%.40q) = %q, want not found", key, got)
		}
	}
	if tab.Name() != "mta-sts:" || tab.Traits() != (table.Traits{}) {
		t.Errorf("Name %q, Traits %+v", tab.Name(), tab.Traits())
	}
}

// Without a policy in force, whatever goes wrong is no policy.
func TestNoPolicy(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *world)
		logged string
	}{
		"testing":      {func(w *world) { w.set(strings.Replace(good, "enforce", "testing", 1)) }, ""},
		"none":         {func(w *world) { w.set("version: STSv1\nmode: none\nmax_age: 100\n") }, ""},
		"no record":    {func(w *world) { clear(w.dns.TXT) }, ""},
		"other record": {func(w *world) { w.dns.TXT["_mta-sts.example.test"] = []string{"v=STSv2; id=1"} }, ""},
		"DNS fails":    {func(w *world) { w.dns.Fail["_mta-sts.example.test"] = true }, "try again"},
		"404":          {func(w *world) { w.status = 404 }, "the web server says 404"},
		"redirect": {func(w *world) {
			w.status = http.StatusFound
			w.header.Set("Location", "https://mta-sts.example.test/.well-known/mta-sts.txt")
		}, "the web server says 302"},
		"media type":    {func(w *world) { w.header.Set("Content-Type", "text/html") }, `media type "text/html"`},
		"no media type": {func(w *world) { w.header["Content-Type"] = nil }, "media type"},
		"too long":      {func(w *world) { w.policy += strings.Repeat("x: y\n", 20<<10) }, "more than 64 KiB"},
		"bad text":      {func(w *world) { w.policy = "hello" }, "is not \"name: value\""},
		"bad name":      {func(w *world) { w.dns.TXT = map[string][]string{"_mta-sts.other.test": {"v=STSv1; id=1"}} }, ""},
		"unknown CA":    {func(w *world) { w.ca = tlstest.New(w.t) }, "certificate"},
		"no server":     {func(w *world) { w.https = "127.0.0.1:1" }, "refused"},
	} {
		w := newWorld(t)
		test.change(w)
		if got := look(t, w.open(), "example.test"); got != "none" {
			t.Errorf("%s: %q, want not found", name, got)
		}
		if text := w.logged(); !strings.Contains(text, test.logged) || (text == "") != (test.logged == "") {
			t.Errorf("%s: log %q, want %q", name, text, test.logged)
		}
	}
}

// A certificate for another host is not one for the web server of the domain.
func TestWrongCertificate(t *testing.T) {
	w := newWorld(t)
	w.dns.TXT["_mta-sts.other.test"] = []string{"v=STSv1; id=1"}
	if got := look(t, w.open(), "other.test"); got != "none" || !strings.Contains(w.logged(), "mta-sts.other.test") {
		t.Errorf("%q, log %q", got, w.logged())
	}
}

// Whoever cuts a domain off cannot take its policy away, and neither can a
// restart; when it is over, it is over.
func TestPolicyStays(t *testing.T) {
	w := newWorld(t)
	tab := w.open()
	if got := look(t, tab, "example.test"); got != entry {
		t.Fatalf("at first: %q", got)
	}
	w.dns.Fail["_mta-sts.example.test"] = true
	w.pass(6 * time.Hour)
	for name, tab := range map[string]*stsTable{"same process": tab, "restarted": w.open()} {
		if got := look(t, tab, "example.test"); got != entry {
			t.Errorf("%s, DNS cut off: %q", name, got)
		}
	}
	if !strings.Contains(w.logged(), "stays in force") {
		t.Errorf("log %q", w.logged())
	}
	clear(w.dns.Fail)
	clear(w.dns.TXT)
	w.pass(6 * time.Hour)
	if got := look(t, tab, "example.test"); got != entry {
		t.Errorf("record taken away: %q", got)
	}
	w.pass(13 * time.Hour)
	for name, tab := range map[string]*stsTable{"same process": tab, "restarted": w.open()} {
		if got := look(t, tab, "example.test"); got != "none" {
			t.Errorf("%s, after max_age: %q", name, got)
		}
	}
}

func TestRenewal(t *testing.T) {
	w := newWorld(t)
	w.set(strings.Replace(good, "86400", "604800", 1))
	tab := w.open()
	want := func(what string, fetched int32, value string) {
		t.Helper()
		if got := look(t, tab, "example.test"); got != value || w.fetched.Load() != fetched {
			t.Errorf("%s: %q, fetched %d times; want %q, %d times", what, got, w.fetched.Load(), value, fetched)
		}
	}
	want("at first", 1, entry)
	w.pass(6 * time.Minute)
	want("the same id", 1, entry)
	w.pass(25 * time.Hour)
	want("a day old", 2, entry)
	w.set("version: STSv1\nmode: enforce\nmx: new.test\nmax_age: 604800\n")
	w.dns.TXT["_mta-sts.example.test"] = []string{"v=STSv1; id=2;"}
	want("nobody looked yet", 2, entry)
	w.pass(6 * time.Minute)
	want("a new id", 3, "secure match=new.test servername=hostname policy_type=sts")
	w.set("version: STSv1\nmode: none\nmax_age: 1000\n")
	w.dns.TXT["_mta-sts.example.test"] = []string{"v=STSv1; id=3;"}
	w.pass(6 * time.Minute)
	want("withdrawn", 4, "none")
	w.dns.TXT["_mta-sts.example.test"] = []string{"v=STSv1; id=4;"}
	w.set("broken")
	w.pass(6 * time.Minute)
	want("broken", 5, "none")
	want("a failure is not repeated at once", 5, "none")
}

// A file that is damaged, or a directory that cannot be written, is told and
// harms nobody.
func TestStoreTroubles(t *testing.T) {
	w := newWorld(t)
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "id", "id x\n" + good, "i d 1\n" + good, "id 1767225600\nbroken"} {
		if err := os.WriteFile(filepath.Join(w.dir, "example.test.policy"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if k, err := (store{w.dir}).load("example.test"); err == nil || !strings.Contains(err.Error(), "example.test.policy") {
			t.Errorf("load of %q = %+v, %v", text, k, err)
		}
	}
	if got := look(t, w.open(), "example.test"); got != entry || !strings.Contains(w.logged(), "it is not used") {
		t.Errorf("%q, log %q", got, w.logged())
	}
	if k, err := (store{w.dir}).load("example.test"); err != nil || k.id != "1" {
		t.Errorf("afterwards: %+v, %v", k, err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, ".new-*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
	w.dir = filepath.Join(w.dir, "example.test.policy", "below")
	if got := look(t, w.open(), "example.test"); got != entry || !strings.Contains(w.logged(), "not kept across a restart") {
		t.Errorf("%q, log %q", got, w.logged())
	}
	w.dir = ""
	if got := look(t, w.open(), "example.test"); got != entry {
		t.Errorf("without a directory: %q", got)
	}
}

// Lookups of one domain share the work; one that is given up leaves it to the
// others, and Close ends it.
func TestConcurrentAndCancelled(t *testing.T) {
	w := newWorld(t)
	w.hold = make(chan struct{})
	tab := w.open()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got := look(t, tab, "example.test"); got != entry {
				t.Errorf("Lookup = %q", got)
			}
		})
	}
	all.Go(func() {
		_, err := tab.Lookup(ctx, "example.test")
		var e *table.Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Table != "mta-sts:" {
			t.Errorf("a lookup that is given up: %v", err)
		}
	})
	cancel()
	close(w.hold)
	all.Wait()
	if n := w.fetched.Load(); n < 1 || n > 2 {
		t.Errorf("fetched %d times", n)
	}
}

func TestClose(t *testing.T) {
	w := newWorld(t)
	w.hold = make(chan struct{})
	tab := w.open()
	done := make(chan string)
	go func() { done <- look(t, tab, "example.test") }()
	for w.fetched.Load() == 0 {
		time.Sleep(time.Millisecond) // until the request is under way
	}
	for range 2 {
		if err := tab.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if got := <-done; got != "none" {
		t.Errorf("a lookup during Close: %q", got)
	}
	for _, key := range []string{"example.test", "[x]"} {
		_, err := tab.Lookup(t.Context(), key)
		var e *table.Error
		if !errors.As(err, &e) || e.Table == "" {
			t.Errorf("Lookup(%q) after Close: %v", key, err)
		}
	}
}

func TestTimeout(t *testing.T) {
	w := newWorld(t)
	w.hold = make(chan struct{})
	tab := w.open()
	tab.timeout = 10 * time.Millisecond
	if got := look(t, tab, "example.test"); got != "none" || !strings.Contains(w.logged(), "deadline exceeded") {
		t.Errorf("a web server that hangs: %q, log %q", got, w.logged())
	}
}

package bdb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/table/index"
)

var formats = []index.Format{Hash(), Btree()}

// pair is a record as a test knows it.
type pair struct {
	key, value string
}

func recordsOf(pairs []pair) *index.Records {
	var r index.Records
	for _, p := range pairs {
		r.Add([]byte(p.key), []byte(p.value))
	}
	return &r
}

// writeSize writes pages of any size.
func writeSize(t testing.TB, format string, pairs []pair, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	write := writeHashPages
	if format == "btree" {
		write = writeBtreePages
	}
	if err := write(&b, recordsOf(pairs), size); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func opened(t testing.TB, format index.Format, data []byte) index.Reader {
	t.Helper()
	r, err := format.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// all is the records of a file in its order.
func all(t testing.TB, r index.Reader) []pair {
	t.Helper()
	var pairs []pair
	for record, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, pair{string(record.Key), string(record.Value)})
	}
	return pairs
}

// holds fails unless the reader has these records and nothing else.
func holds(t testing.TB, r index.Reader, pairs []pair) {
	t.Helper()
	want := make(map[string]string, len(pairs))
	for _, p := range pairs {
		want[p.key] = p.value
	}
	for _, p := range pairs {
		value, err := r.Get([]byte(p.key))
		if err != nil || string(value) != p.value {
			t.Fatalf("Get(%.50q) = %.50q, %v, want %.50q", p.key, value, err, p.value)
		}
		for _, absent := range []string{p.key + "\x00", p.key + "~", "\x00" + p.key, strings.TrimSuffix(p.key, "\x00") + "x\x00"} {
			if _, ok := want[absent]; ok {
				continue
			}
			if _, err := r.Get([]byte(absent)); !errors.Is(err, index.ErrNone) {
				t.Fatalf("Get(%.50q) = %v, want %v", absent, err, index.ErrNone)
			}
		}
	}
	got := all(t, r)
	for _, p := range got {
		if value, ok := want[p.key]; !ok || value != p.value {
			t.Fatalf("All has %.50q with %.50q, want %.50q", p.key, p.value, value)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("All has %d records, want %d", len(got), len(want))
	}
}

// numbered is n records as they are common in mail tables.
func numbered(n int) []pair {
	pairs := make([]pair, n)
	for i := range pairs {
		pairs[i] = pair{fmt.Sprintf("user%04d@example%d.test\x00", i, i%7), fmt.Sprintf("example%d.test/user%04d/\x00", i%7, i)}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	return pairs
}

// lengthy is records that do not fit on a page, or nearly not.
func lengthy() []pair {
	text := func(n int) string { return strings.Repeat("0123456789abcde\n", n/16+1)[:n] }
	var pairs []pair
	for i, n := range []int{0, 1, 990, 1003, 1007, 1008, 1023, 1024, 1025, 3000, 4070, 4071, 20000} {
		pairs = append(pairs, pair{fmt.Sprintf("v%d\x00", i), text(n)})
		pairs = append(pairs, pair{fmt.Sprintf("%sk%d\x00", text(n), i), "short\x00"})
		pairs = append(pairs, pair{fmt.Sprintf("%sb%d\x00", text(n), i), text(n)})
	}
	return pairs
}

// binaryPairs is records of any bytes, with the empty key among them.
func binaryPairs(n int) []pair {
	random := rand.New(rand.NewPCG(3, 4))
	seen := map[string]bool{"": true}
	pairs := []pair{{"", "of nothing"}}
	text := func() string {
		b := make([]byte, random.IntN(40))
		for i := range b {
			b[i] = "\x00\x01a\xff"[random.IntN(4)]
			if random.IntN(3) == 0 {
				b[i] = byte(random.Uint32())
			}
		}
		return string(b)
	}
	for len(pairs) < n {
		if p := (pair{text(), text()}); !seen[p.key] {
			seen[p.key] = true
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// need finds a program, or skips the test.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// run runs a program and returns what it says. Postfix reads its main.cf from the
// directory of the file.
func run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// postfixDir is an empty directory with a main.cf.
func postfixDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	main := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(main, []byte("compatibility_level = 3.6\nmyhostname = mail.example.test\nqueue_directory = "+dir+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Postfix waits until a file that it reads stands still.
	if err := os.Chtimes(main, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// dumped is the records that db5.3_dump finds.
func dumped(t *testing.T, path string) []pair {
	t.Helper()
	_, body, _ := strings.Cut(run(t, "", "db5.3_dump", path), "HEADER=END\n")
	body, _, ok := strings.Cut(body, "DATA=END\n")
	if !ok {
		t.Fatal("the dump does not end")
	}
	var texts []string
	for line := range strings.Lines(body) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	var pairs []pair
	for i := 0; i+1 < len(texts); i += 2 {
		pairs = append(pairs, pair{texts[i], texts[i+1]})
	}
	return pairs
}

// dump is the input of db5.3_load.
func dump(format string, pairs []pair) string {
	var b strings.Builder
	fmt.Fprintf(&b, "VERSION=3\nformat=bytevalue\ntype=%s\nHEADER=END\n", format)
	for _, p := range pairs {
		fmt.Fprintf(&b, " %x\n %x\n", p.key, p.value)
	}
	b.WriteString("DATA=END\n")
	return b.String()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

package cdb_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/internal/table/index"
)

// records in the order of a source text.
func inOrder(keys []string, want rows) *index.Records {
	var r index.Records
	for _, key := range keys {
		r.Add([]byte(key), []byte(want[key]))
	}
	return &r
}

// A file is the same that postmap makes of the same text, and postmap finds in
// it what it should.
func TestPostmap(t *testing.T) {
	p := newPostfix(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 1000, 5000} {
		want := text(n)
		keys := slices.Sorted(maps.Keys(want))
		rnd.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		if n > 2 {
			want[keys[1]] = strings.Repeat("long,", 4000)
		}
		var source strings.Builder
		for _, key := range keys {
			fmt.Fprintf(&source, "%s %s\n", key, want[key])
		}
		path := p.write("table", source.String())
		p.run("", "postmap", "cdb:"+path)
		theirs, err := os.ReadFile(path + ".cdb")
		if err != nil {
			t.Fatal(err)
		}
		ours := build(t, inOrder(keys, want))
		if string(ours) != string(theirs) {
			t.Errorf("%d records: another file than postmap's, of %d and %d bytes", n, len(ours), len(theirs))
		}
		if n == 0 {
			continue
		}
		p.write("table.cdb", string(ours))
		var answers strings.Builder
		for _, key := range keys {
			fmt.Fprintf(&answers, "%s\t%s\n", key, want[key])
		}
		if got := p.run(strings.Join(keys, "\n")+"\n", "postmap", "-q", "-", "cdb:"+path); got != answers.String() {
			t.Errorf("%d records: postmap -q finds other records", n)
		}
	}
}

// The programs of tinycdb read what is written here, whatever the bytes are.
func TestTools(t *testing.T) {
	p := newPostfix(t)
	rnd := rand.New(rand.NewPCG(1, 3))
	for _, n := range []int{0, 1, 2000} {
		want := odd(rnd, n)
		keys := slices.Sorted(maps.Keys(want))
		rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		path := p.write("odd.cdb", string(build(t, inOrder(keys, want))))
		var dump strings.Builder
		for _, key := range keys {
			fmt.Fprintf(&dump, "+%d,%d:%s->%s\n", len(key), len(want[key]), key, want[key])
		}
		dump.WriteString("\n")
		if got := p.run("", "cdb", "-d", path); got != dump.String() {
			t.Errorf("cdb -d shows other records")
		}
		if got, line := p.run("", "cdb", "-s", path), fmt.Sprintf("number of records: %d\n", len(want)); !strings.HasPrefix(got, line) {
			t.Errorf("cdb -s, want %d records:\n%s", len(want), got)
		}
		for _, key := range keys[:min(len(keys), 50)] {
			if strings.Contains(key, "\x00") || key == "" || strings.HasPrefix(key, "-") || len(key) > 1000 {
				continue // not possible as an argument
			}
			if got := p.run("", "cdb", "-q", path, key); got != want[key] {
				t.Errorf("cdb -q %q = %q, want %q", key, got, want[key])
			}
		}
	}
}

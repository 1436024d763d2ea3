package lmdb_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/internal/table/index"
	"postern/internal/table/lmdb"
)

// dump is what mdb_dump finds in a file.
func (p *postfix) dump(path string) rows {
	p.Helper()
	_, body, _ := strings.Cut(p.run("", "mdb_dump", "-n", path), "HEADER=END\n")
	found := rows{}
	var key string
	isKey := true
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, " ") {
			continue // DATA=END
		}
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			p.Fatal(err)
		}
		if isKey {
			key = string(b)
		} else {
			found[key] = string(b)
		}
		isKey = !isKey
	}
	return found
}

// check examines a file with Debian's programs, and reads it.
func (p *postfix) check(path string, want rows) {
	p.Helper()
	if stat := p.run("", "mdb_stat", "-n", "-e", path); !strings.Contains(stat, fmt.Sprintf("Entries: %d\n", len(want))) {
		p.Errorf("mdb_stat, want %d records:\n%s", len(want), stat)
	}
	if !maps.Equal(p.dump(path), want) {
		p.Error("mdb_dump shows other records")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		p.Fatal(err)
	}
	compare(p, open(p, data), want)
}

// Debian's programs read what is written here.
func TestTools(t *testing.T) {
	p := newPostfix(t)
	rnd := rand.New(rand.NewPCG(11, 12))
	tests := map[string]rows{"odd": odd(rnd, 3000, 511, 20_000), "long": {}}
	for _, n := range []int{0, 1, 2, 1000, 5000} {
		tests[fmt.Sprint("text", n)] = text(n)
	}
	for i := range 70 { // 7 to a page: four levels
		for j := range 70 {
			tests["long"][fmt.Sprintf("%d %0500d %d\x00", i, 0, j)] = strings.Repeat("v", i) + "\x00"
		}
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			p := &postfix{t, p.dir}
			p.check(p.write(name+".lmdb", string(build(t, want.records(rnd), 4096))), want)
		})
	}
}

// postmap reads what is written here, changes it again and again, and it can be
// read here again each time.
func TestPostmap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	for _, n := range []int{0, 1, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := newPostfix(t)
			want := text(n)
			path := p.write("table.lmdb", string(build(t, want.records(rnd), 4096)))
			table := "lmdb:" + strings.TrimSuffix(path, ".lmdb")
			for round := range 6 {
				p.compare(table, want)
				p.check(path, want)
				added, gone := change(rnd, want, round)
				p.run(lines(added), "postmap", "-i", "-r", table)
				if gone != nil {
					p.run(strings.Join(gone, "\n")+"\n", "postmap", "-d", "-", table)
				}
			}
		})
	}
}

// compare looks at a table with postmap.
func (p *postfix) compare(table string, want rows) {
	p.Helper()
	var all, keys strings.Builder
	for _, key := range slices.Sorted(maps.Keys(want)) {
		fmt.Fprintf(&all, "%s\t%s\n", strings.TrimSuffix(key, "\x00"), strings.TrimSuffix(want[key], "\x00"))
		fmt.Fprintln(&keys, strings.TrimSuffix(key, "\x00"))
	}
	if got := p.run("", "postmap", "-s", table); got != all.String() {
		p.Error("postmap -s shows other records")
	}
	if len(want) > 0 {
		if got := p.run(keys.String(), "postmap", "-q", "-", table); got != all.String() {
			p.Error("postmap -q finds other records")
		}
	}
}

// change changes rows and says what to give to postmap: added and replaced rows,
// and keys to delete, few in the first rounds and most of all later.
func change(rnd *rand.Rand, want rows, round int) (added map[string]string, gone []string) {
	added = map[string]string{}
	for i := range 60 {
		key, value := fmt.Sprintf("added%d-%d@example.test", round, i), strings.Repeat("w", rnd.IntN(100))
		if i%20 == 0 {
			value = strings.Repeat("x", rnd.IntN(12_000))
		}
		added[key] = "v" + value
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch n := rnd.IntN(40); {
		case n < round*8:
			gone = append(gone, strings.TrimSuffix(key, "\x00"))
		case n == 39:
			added[strings.TrimSuffix(key, "\x00")] = "replaced" + strings.Repeat("z", rnd.IntN(50))
		}
	}
	for key, value := range added {
		want[key+"\x00"] = value + "\x00"
	}
	for _, key := range gone {
		delete(want, key+"\x00")
	}
	return added, gone
}

// A key that is too long is refused by both, in the same words at the start.
func TestLongKeyLikePostmap(t *testing.T) {
	p := newPostfix(t)
	key := strings.Repeat("k", 511)
	_, err := p.try(key+" value\n", "postmap", "-i", "lmdb:"+p.dir+"/table")
	if err == nil || !strings.Contains(err.Error(), ": MDB_BAD_VALSIZE: Unsupported size of key") {
		t.Errorf("postmap says: %v", err)
	}
	var r index.Records
	r.Add([]byte(key+"\x00"), []byte("value\x00"))
	err = lmdb.Format().Write(&bytes.Buffer{}, &r)
	if err == nil || !strings.HasPrefix(err.Error(), "MDB_BAD_VALSIZE: Unsupported size of key") {
		t.Errorf("we say: %v", err)
	}
}

package memcache_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/table"
)

// longest is a key that fits into memcached with the prefix of fill. With a
// longer one Postfix fails, we know that it cannot be there.
var longest = strings.Repeat("x", 244)

var keys = []string{"john@a.b.example", "JOHN@a.b.example", "backup@a.b.example", "Backup@a.b.example", "large@a.b.example", "almost@a.b.example", "empty", "john", "@a.b.example",
	"john@", "@", "two words", "tab\there", "o'neil", "100%", "%s", "*", "j\u00f6hn@ex\u00e4mple.test", "\xff", "a@b@a.b.example", "user@a..example", longest, "backuponly"}

const spare = "backup = inline:{backup@a.b.example=b, {john=other}, backuponly=only, %s=percent, large@a.b.example=small}\n"

// configs are the tables that are compared; {p} is the prefix of their keys.
var configs = []string{
	"", spare, "flags = 3\nttl = 100\n" + spare,
	"key_format = {p}%u\n", "key_format = {p}%d\n" + spare, "key_format = {p}%U@%D\n", "key_format = {p}%2.%1\n", "key_format = {p}%1\n", "key_format = {p}%%%s\n",
	"domain = a.b.example\n", "domain = c.example\n" + spare,
	"data_size_limit = 20000\n", "data_size_limit = 5\n" + spare, "line_size_limit = 10\n",
	"memcache = inet:127.0.0.1:1\n", "memcache = inet:127.0.0.1:1\n" + spare, "memcache = unix:/none\n" + spare,
	"backup = fail:down\n",
}

// TestPostfix compares with Postfix's own memcache tables: what is found, and
// what is stored in memcached after that.
func TestPostfix(t *testing.T) {
	m := server(t)
	program := find(t, "postmap")
	if out, _ := exec.Command("postconf", "-m").Output(); !strings.Contains(string(out), "memcache") {
		find(t, "Postfix with memcache tables")
	}
	var wait sync.WaitGroup
	slots := make(chan struct{}, 40) // most of them sleep
	var compare []func()
	for _, cf := range configs {
		ours, theirs := m.fill(t), m.fill(t)
		tab, _ := open(t, &table.Opener{UTF8: true}, m.complete(cf, ours), table.Use{Fold: true})
		answers := make(map[string]string)
		var good, bad []string
		for _, key := range keys {
			if answers[key] = ask(t, tab, key); answers[key] == "error" {
				bad = append(bad, key)
			} else {
				good = append(good, key)
			}
		}
		// postmap ends, after a sleep, at the first failure.
		questions := [][]string{good}
		for _, key := range bad[:min(2, len(bad))] {
			questions = append(questions, []string{key})
		}
		dir := configure(t, m.complete(cf, theirs))
		for _, keys := range questions {
			wait.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				postfix := postmap(program, dir, keys)
				for _, key := range keys {
					if answers[key] != postfix[key] {
						t.Errorf("%s\nLookup(%.40q) = %.40q, Postfix says %.40q", cf, key, answers[key], postfix[key])
					}
				}
			})
		}
		compare = append(compare, func() {
			for _, key := range keys {
				if mine, his := m.stored(t, ours+key), m.stored(t, theirs+key); mine != his {
					t.Errorf("%s\nstored under %q: %.40q, Postfix stores %.40q", cf, key, mine, his)
				}
			}
		})
	}
	wait.Wait()
	for _, c := range compare {
		c()
	}
}

// complete fills in the prefix of keys, and the defaults.
func (m *memcached) complete(cf, prefix string) string {
	text := fmt.Sprintf("max_try = 1\n%s\n", strings.ReplaceAll(cf, "{p}", prefix))
	if !strings.Contains(cf, "memcache = ") {
		text += "memcache = inet:" + m.address + "\n"
	}
	if !strings.Contains(cf, "key_format") {
		text += "key_format = " + prefix + "%s\n"
	}
	return text
}

// fill stores values under a new prefix, and returns it.
func (m *memcached) fill(t *testing.T) (prefix string) {
	prefix = fmt.Sprintf("p%03d:", shared.tables.Add(1))
	for key, value := range map[string]string{
		"john@a.b.example": "j@c.example, k@c.example", "large@a.b.example": strings.Repeat("l", 10241), "almost@a.b.example": strings.Repeat("l", 10240),
		"empty": "", "john": "j", "o'neil": "quote", "100%": "percent", "j\u00f6hn@ex\u00e4mple.test": "utf",
		"a.b.example": "domain", "example": "label", longest: "long",
	} {
		m.set(t, prefix+key, value)
	}
	return prefix
}

// stored is get for keys that can be stored.
func (m *memcached) stored(t *testing.T, key string) string {
	if strings.ContainsAny(key, " \t") || len(key) > 250 {
		return "-"
	}
	return m.get(t, key)
}

// configure makes a configuration directory for Postfix with t.cf.
func configure(t *testing.T, cf string) (dir string) {
	t.Helper()
	dir = write(t, cf)
	if err := os.WriteFile(dir+"/main.cf", []byte("compatibility_level = 3.6\nmyhostname = host.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dir + "/main.cf", dir + "/t.cf"} {
		// Postfix waits until a file that it reads stands still.
		if err := os.Chtimes(file, time.Time{}, time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// postmap is what Postfix's command says for each key, in the words of ask. A
// failure is that of all keys.
func postmap(program, dir string, keys []string) map[string]string {
	answers := make(map[string]string)
	cmd := exec.Command(program, "-c", dir, "-q", "-", "memcache:"+dir+"/t.cf")
	cmd.Stdin = strings.NewReader(strings.Join(keys, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, _ := cmd.Output() // status 1: no key was found
	nothing := "-"
	if strings.Contains(stderr.String(), "fatal:") {
		nothing = "error"
	}
	for _, key := range keys {
		answers[key] = nothing
	}
	rest := string(out)
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		for _, key := range keys {
			if value, ok := strings.CutPrefix(line, key+"\t"); ok {
				answers[key] = value
			}
		}
	}
	return answers
}

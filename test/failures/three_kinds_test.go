package failures

import (
	"flag"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what explain says into docs/three-kinds.md")

// The page for newcomers shows what explain really says.
func TestThreeKinds(t *testing.T) {
	const name = "../../docs/three-kinds.md"
	page, err := os.ReadFile(name)
	must(t, err)
	parts := strings.Split(string(page), "```\n") // text, block, text, ...
	config := strings.NewReplacer("uid_maps = static:5000", "uid_maps = static:{uid}", "gid_maps = static:5000", "gid_maps = static:{gid}", "\n", "\n    ")
	c := exampleCase("    " + config.Replace(parts[1]))
	p := c.layOut(t)
	for n := 3; n < len(parts); n += 2 {
		command, _, _ := strings.Cut(parts[n], "\n")
		parts[n] = command + "\n" + p.explained(t, strings.TrimPrefix(command, "$ postern explain "))
	}
	want := strings.Join(parts, "```\n")
	if *update {
		must(t, os.WriteFile(name, []byte(want), 0o644))
		return
	}
	if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("%s (-explain +page); go test ./test/failures -run TestThreeKinds -update:\n%s", name, diff)
	}
}

// explained is what people read about an address, with the paths of the page.
func (p place) explained(t *testing.T, address string) string {
	t.Helper()
	program, err := exec.LookPath("postern")
	must(t, err)
	out, _ := exec.Command(program, "explain", "-c", p.dir, address).Output() // the status is that of the reply
	return strings.NewReplacer(p.dir+"/vmail", "/var/vmail", p.dir, "/etc/postfix",
		"uid "+strconv.Itoa(p.uid), "uid 5000", "gid "+strconv.Itoa(p.gid), "gid 5000").Replace(string(out))
}

package conformance

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

var (
	realitySeed  = flag.Uint64("reality.seed", 0, "seed of the first generated configuration; 0: a new one")
	realityCount = flag.Int("reality.count", 0, "how many configurations are generated; 0: 20, or 200 with POSTERN_SOAK=1")
)

// TestExplainIsReality serves generated configurations and compares what the explain
// command says with what happens: by Postern as it is, and with --postfix by
// Postfix. A configuration that fails comes again with -reality.seed=SEED
// -reality.count=1.
func TestExplainIsReality(t *testing.T) {
	postfix, postern, bin := kinds(t)
	count := *realityCount
	if count == 0 {
		count = 20
		if os.Getenv("POSTERN_SOAK") != "" {
			count = 200
		}
	}
	seed := *realitySeed
	if seed == 0 {
		seed = rand.Uint64() >> 16
	}
	t.Logf("%d configurations, -reality.seed=%d", count, seed)
	for i := range count {
		seed := seed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			a := generate(seed)
			if why := missing(a); why != "" {
				t.Fatal(why)
			}
			for _, run := range []options{
				{kind: postern, explain: []string{bin, "explain"}},
				{kind: postfix, explain: []string{bin, "explain", "--postfix"}},
			} {
				run.keep = *keep
				p, err := play(t.Context(), run, a)
				if err != nil {
					t.Fatalf("%v\n%s", err, a)
				}
				for _, text := range p.wrong {
					t.Errorf("%v: %s", run.explain[1:], text)
				}
				if p.compared == 0 {
					t.Errorf("%v: no probe could be compared:\n%s", run.explain[1:], p.seen)
				}
				if t.Failed() {
					t.Fatalf("%s", a)
				}
			}
		})
	}
}

// TestGenerate: the same seed makes the same configuration.
func TestGenerate(t *testing.T) {
	if a, b := generate(7).String(), generate(7).String(); a != b || a == generate(8).String() {
		t.Errorf("not made of the seed:\n%s", diff(a, b))
	}
}

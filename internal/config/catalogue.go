package config

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

//go:embed catalogue.tsv
var catalogueText string

// Param is an entry of the catalogue.
type Param struct {
	Name    string
	Type    string // str, raw, bool, nbool, int, nint, long, time
	Min     int64
	Max     int64 // 0: no bound
	Default string
	Doc     string // one line; "" for parameters that Postern knows but does not act on
}

// catalogue parses the embedded table once; the result is only read.
var catalogue = sync.OnceValue(func() map[string]*Param {
	m := map[string]*Param{}
	for line := range strings.SplitSeq(catalogueText, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		for len(f) < 6 {
			f = append(f, "")
		}
		p := &Param{Name: f[0], Type: f[1], Default: f[4], Doc: f[5]}
		p.Min, _ = strconv.ParseInt(f[2], 10, 64)
		p.Max, _ = strconv.ParseInt(f[3], 10, 64)
		m[p.Name] = p
	}
	return m
})

// Lookup returns the catalogue entry of a parameter.
func LookupParam(name string) (*Param, bool) {
	p, ok := catalogue()[name]
	return p, ok
}

// numeric reports whether values are numbers.
func (p *Param) numeric() bool {
	return p.Type == "int" || p.Type == "nint" || p.Type == "long"
}

// boolean reports whether values are yes or no.
func (p *Param) boolean() bool { return p.Type == "bool" || p.Type == "nbool" }

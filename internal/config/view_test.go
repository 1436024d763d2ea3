package config

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	tests := []struct {
		text string
		want []string
		ok   bool
	}{
		{"plain $$text", nil, true},
		{"$a ${b} $(c) $a.d", []string{"a", "b", "c", "a"}, true},
		{"${a?{$b}:{$c}} ${d:$e} ${f?g$h}", []string{"a", "b", "c", "d", "e", "f", "h"}, true},
		{"${{$a} == {$b} ? {$c} : {$d}} ${{$e} <level {$f}}", []string{"a", "b", "c", "d", "e", "f"}, true},
		{"${{x$a} <level {1} ? {${b?{$c}}}}", []string{"a", "b", "c"}, true},
		{"$a ${b", []string{"a"}, false},
		{"$a ${b-c} $d", []string{"a"}, false},
		{"$", nil, false},
	}
	for _, tt := range tests {
		got, err := Names(tt.text)
		if !slices.Equal(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("Names(%q) = %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestAsWritten(t *testing.T) {
	s := AsWritten(Options{Hostname: func() (string, error) { return "mx.example.test", nil }}, map[string]string{
		"mydomain": "b.test", "a": "$b", "c": "${a?set}", "smtpd_banner": "${",
	})
	for text, want := range map[string]string{
		"$mydomain":             "b.test",
		"$myhostname $nosuch.":  "mx.example.test .",
		"$c ${a:empty} $a.":     "set  .",
		"${always_bcc?x}":       "",
		"${virtual_alias_maps?": "",
	} {
		if got, err := s.Expand(text); got != want {
			t.Errorf("Expand(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for name, want := range map[string]string{"myhostname": "mx.example.test", "queue_directory": "/var/spool/postfix", "a": "", "config_directory": "/etc/postfix"} {
		if got, ok := s.Default(name); got != want || ok == (name == "a") {
			t.Errorf("Default(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
	params := Params()
	if len(params) < 800 || !slices.IsSortedFunc(params, func(a, b *Param) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	}) {
		t.Errorf("%d parameters, or not sorted", len(params))
	}
}

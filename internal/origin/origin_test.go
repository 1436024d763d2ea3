package origin

import (
	"encoding/json"
	"testing"
)

func TestForms(t *testing.T) {
	tests := []struct {
		at         At
		text, json string
	}{
		{At{File: "main.cf", Line: 12, Text: "a = b"}, "main.cf:12", `{"file":"main.cf","line":12,"text":"a = b"}`},
		{At{File: "main.cf", Parameter: "virtual_alias_domains", Text: "(default) $virtual_alias_maps"}, "default of virtual_alias_domains",
			`{"file":"main.cf","line":0,"text":"(default) $virtual_alias_maps","parameter":"virtual_alias_domains"}`},
		{At{Table: "sqlite:x.cf", Key: "@example.org", Query: "SELECT 1", Row: map[string]string{"a": "b"}}, `sqlite:x.cf "@example.org"`,
			`{"table":"sqlite:x.cf","key":"@example.org","query":"SELECT 1","row":{"a":"b"}}`},
		{At{File: "list"}, "list", `{"file":"list","line":0}`},
		{At{}, "", `{}`},
	}
	for _, tt := range tests {
		if got := tt.at.String(); got != tt.text {
			t.Errorf("String(%+v) = %q, want %q", tt.at, got, tt.text)
		}
		if got, err := json.Marshal(tt.at); err != nil || string(got) != tt.json {
			t.Errorf("Marshal(%+v) = %s, %v, want %s", tt.at, got, err, tt.json)
		}
	}
}

func TestRelativeTo(t *testing.T) {
	tests := []struct{ file, dir, want string }{
		{"/etc/postfix/main.cf", "/etc/postfix", "main.cf"},
		{"/etc/postfix/tables/x", "/etc/postfix", "tables/x"},
		{"/etc/aliases", "/etc/postfix", "/etc/aliases"},
		{"/etc/postfix2/x", "/etc/postfix", "/etc/postfix2/x"},
		{"main.cf", "/etc/postfix", "main.cf"},
		{"", "/etc/postfix", ""},
	}
	for _, tt := range tests {
		if got := (At{File: tt.file}).RelativeTo(tt.dir).File; got != tt.want {
			t.Errorf("RelativeTo(%q, %q) = %q, want %q", tt.file, tt.dir, got, tt.want)
		}
	}
}

package settings

import (
	"errors"
	"testing"

	"postern/internal/config"
	"postern/internal/origin"
)

func TestLineWithoutEquals(t *testing.T) {
	for text, want := range map[string]string{
		"virtual_alias_domains\ta.example  b.example": "write virtual_alias_domains = a.example b.example",
		"nonsense": "write NAME = VALUE, or remove the line",
	} {
		got := refused(&config.Fault{At: origin.At{File: "main.cf", Line: 7, Text: text}, Err: errors.New("missing '=' after attribute name")})
		if got.Fix != want {
			t.Errorf("refused(%q): fix %q, want %q", text, got.Fix, want)
		}
	}
}

package pipe

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"postern/internal/address"
	"postern/internal/deliver"
)

func TestFits(t *testing.T) {
	tests := []struct {
		argv, got []string
		want      bool
	}{
		{[]string{"/bin/deliver"}, []string{"/bin/deliver"}, true},
		{[]string{"/bin/deliver"}, []string{"/bin/deliver", "x"}, false},
		{[]string{"/bin/deliver"}, []string{"/bin/deliver2"}, false},
		{[]string{"/bin/deliver"}, nil, false},
		{[]string{"/bin/d", "-f", "${sender}"}, []string{"/bin/d", "-f", "a@b"}, true},
		{[]string{"/bin/d", "-f", "${sender}"}, []string{"/bin/d", "-f"}, false},
		{[]string{"/bin/d", "-f", "${sender}"}, []string{"/bin/d", "-x", "a@b"}, false},
		{[]string{"/bin/d", "-f", "${sender}"}, []string{"/bin/sh", "-f", "a@b"}, false},
		{[]string{"/bin/d", "${recipient}", "end"}, []string{"/bin/d", "a", "b", "c", "end"}, true},
		{[]string{"/bin/d", "${recipient}", "end"}, []string{"/bin/d", "end"}, true},
		{[]string{"/bin/d", "${recipient}", "end"}, []string{"/bin/d", "a", "b"}, false},
		{[]string{"/bin/d", "to=${user}@${domain}!"}, []string{"/bin/d", "to=a@b!", "to=c@d!"}, true},
		{[]string{"/bin/d", "to=${user}@${domain}!"}, []string{"/bin/d", "to=a@b!", "-x"}, false},
		{[]string{"/bin/d", "${user}+${extension}"}, []string{"/bin/d", "a"}, false},
		{[]string{"/bin/d", "${user}$$"}, []string{"/bin/d", "a$"}, true},
		{[]string{"/bin/d", "${extension?{+${extension}}}"}, []string{"/bin/d", ""}, true},
		{[]string{"/bin/d", "${size}"}, []string{"/bin/d", "1", "2"}, false},
	}
	for _, tt := range tests {
		a := Attributes{Argv: tt.argv}
		if got := a.Fits(tt.got); got != tt.want {
			t.Errorf("Fits(%q) of %q = %v, want %v", tt.got, tt.argv, got, tt.want)
		}
	}
}

// TestFitsExpansion: whatever the arguments become fits them.
func TestFitsExpansion(t *testing.T) {
	pieces := rapid.SampledFrom([]string{"-f", "x", "${sender}", "${recipient}", "${user}", "${domain}", "${extension}",
		"${extension?{+${extension}}}", "${envid:{none}}", "$$", "$size", "="})
	rapid.Check(t, func(t *rapid.T) {
		a := Attributes{}
		for _, words := range rapid.SliceOfN(rapid.SliceOfN(pieces, 1, 3), 1, 6).Draw(t, "argv") {
			a.Argv = append(a.Argv, fmt.Sprint(words)) // in brackets, with blanks between
		}
		if err := a.checkMacros(); err != nil {
			t.Fatal(err)
		}
		var to []deliver.Recipient
		for _, name := range rapid.SliceOfN(rapid.StringMatching(`[a-c]{1,3}(\+[a-c]{0,2})?@[a-c]{1,3}`), 1, 4).Draw(t, "recipients") {
			to = append(to, deliver.Recipient{Address: name})
		}
		shared := map[string]string{"sender": rapid.StringMatching(`[a-c@ ]{0,5}`).Draw(t, "sender"), "size": "7"}
		if argv := a.expand(shared, to, address.Delimiter{Set: "+"}); !a.Fits(argv) {
			t.Errorf("%q does not fit %q", argv, a.Argv)
		}
	})
}

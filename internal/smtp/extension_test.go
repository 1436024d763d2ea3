package smtp

import "testing"

func TestExtensions(t *testing.T) {
	var e Extensions
	for _, line := range []string{"PIPELINING", "SIZE 100", "VRFY"} {
		e.Add(line)
	}
	if got, want := e.Reply("mx"), R(250, "", "mx\nPIPELINING\nSIZE 100\nVRFY"); got != want {
		t.Errorf("Reply = %v, want %v", got, want)
	}
	less := e.Without(map[string]bool{"SIZE": true, "DSN": true})
	if got, want := less.Reply("mx"), R(250, "", "mx\nPIPELINING\nVRFY"); got != want {
		t.Errorf("without SIZE: %v, want %v", got, want)
	}
	back := ParseExtensions(R(250, "", "mx hello\nPIPELINING\n\nsize 100 \nSTARTTLS"))
	if params, ok := back.Get("SIZE"); !ok || params != "100" {
		t.Errorf("Get(SIZE) = %q, %v, want 100", params, ok)
	}
	if !back.Has("starttls") || back.Has("mx") || back.Has("DSN") || back.Has("") {
		t.Errorf("Has is wrong for %+v", back)
	}
	if e := ParseExtensions(R(250, "", "mx")); e.Has("mx") {
		t.Error("the name of the server is taken for an extension")
	}
}

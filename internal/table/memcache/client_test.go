package memcache

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadValue(t *testing.T) {
	l := limits{40, 10}
	tests := []struct{ reply, want, wantErr string }{
		{reply: "VALUE k 0 3\r\nabc\r\nEND\r\n", want: "abc"},
		{reply: "VALUE k 0 0\r\n\r\nEND\r\n"},
		{reply: "VALUE k 0 4 77\na\r\nb\r\nEND\n", want: "a\r\nb"},
		{reply: "VALUE k 0 3\r\na\x00b\r\nEND\r\n", want: "a"},
		{reply: "VALUE k 0 2\r\n\x00b\r\nEND\r\n"},
		{reply: "END\r\n", wantErr: "no such key"},
		{reply: "", wantErr: "the server closed the connection"},
		{reply: "END", wantErr: "the server closed the connection"},
		{reply: "ERROR\r\n", wantErr: `unexpected answer "ERROR"`},
		{reply: "VALUE x 0 3\r\nabc\r\nEND\r\n", wantErr: `unexpected answer "VALUE x 0 3"`},
		{reply: "VALUE k 0 -1\r\nabc\r\nEND\r\n", wantErr: `unexpected answer "VALUE k 0 -1"`},
		{reply: "VALUE k 0\r\n", wantErr: `unexpected answer "VALUE k 0"`},
		{reply: "VALUE k 0 11\r\n", wantErr: `the value of "k" has 11 bytes`},
		{reply: "VALUE k 0 99999999999999999999\r\n", wantErr: `unexpected answer "VALUE k 0 99999999999999999999"`},
		{reply: "VALUE k 0 3\r\nabcd\r\nEND\r\n", wantErr: "a value does not end where it should"},
		{reply: "VALUE k 0 3\r\nabc", wantErr: "the server closed the connection"},
		{reply: "VALUE k 0 3\r\nabc\r\nVALUE", wantErr: "the server closed the connection"},
		{reply: "VALUE k 0 3\r\nabc\r\nVALUE k 0 3\r\n", wantErr: `unexpected answer "VALUE k 0 3"`},
		{reply: strings.Repeat("x", 100), wantErr: `unexpected answer "` + strings.Repeat("x", 40) + `" is longer than line_size_limit = 40`},
	}
	for _, tt := range tests {
		got, err := l.readValue(bufio.NewReader(strings.NewReader(tt.reply)), "k")
		text := ""
		if err != nil {
			text = (&client{}).plain(err).Error()
		}
		if got != tt.want || text != tt.wantErr {
			t.Errorf("readValue(%q) = %q, %q; want %q, %q", tt.reply, got, text, tt.want, tt.wantErr)
		}
	}
}

// FuzzReply holds that a value is what the answer says, and that nothing behind
// the answer is read.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{"END\r\n", "VALUE k 0 3\r\nabc\r\nEND\r\n", "VALUE k 0 0\n\r\nEND\n", "VALUE k 1 5 9\r\na\r\nbc\r\nEND\r\nEND", "VALUE k 0 3\r\na\x00b\r\nEND\r\n", "VALUE k 0 5\r\n", "ERROR", "\r\n"} {
		f.Add(reply, 1024, 10240)
		f.Add(reply, 5, 2)
	}
	f.Fuzz(func(t *testing.T, reply string, line, data int) {
		l := limits{line & 0xffff, data & 0xfffff}
		r := bufio.NewReader(strings.NewReader(reply))
		value, err := l.readValue(r, "k")
		rest, _ := io.ReadAll(r)
		read := strings.TrimSuffix(reply, string(rest))
		switch {
		case errors.Is(err, errMiss):
			if strings.TrimRight(read, "\r\n") != "END" {
				t.Errorf("%q is taken for a miss", read)
			}
		case err != nil:
			if value != "" {
				t.Errorf("value %q with error %v", value, err)
			}
		case len(value) > l.data || !strings.HasPrefix(read, "VALUE k ") || strings.Contains(value, "\x00") || !strings.Contains(read, "\n"+value+"\x00") && !strings.HasSuffix(strings.TrimRight(read, "\r\n"), value+"\r\nEND"):
			t.Errorf("%q is taken for the value %q", read, value)
		}
	})
}

func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"inet:localhost:11211": "tcp localhost:11211",
		"inet:[::1]:99":        "tcp [::1]:99",
		"inet:host:memcache":   "tcp host:memcache",
		"inet:11211":           "tcp localhost:11211",
		"unix:/run/m":          "unix /run/m",
		"unix:run/m":           "unix run/m",
		"":                     " ", "inet:": " ", "unix:": " ", "host:11211": " ", "inet:::1:99": " ", "inet:host:": " ", "/run/m": " ", "tcp:host:1": " ",
	} {
		network, address, err := parseServer(text)
		if got := network + " " + address; got != want || (err != nil) != (want == " ") {
			t.Errorf("parseServer(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

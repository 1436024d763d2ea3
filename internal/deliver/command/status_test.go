package command

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/deliver"
	"postern/internal/privsep"
)

func TestStatus(t *testing.T) {
	tests := []struct {
		r    Result
		err  error
		want string
	}{
		{Result{}, nil, "sent 2.0.0 "},
		{Result{Output: []byte("4.2.1 no matter")}, nil, "sent 2.0.0 "},
		{Result{Status: 64}, nil, "bounced 5.3.0 command line usage error"},
		{Result{Status: 65}, nil, "bounced 5.6.0 data format error"},
		{Result{Status: 66}, nil, "bounced 5.3.0 cannot open input"},
		{Result{Status: 67}, nil, "bounced 5.1.1 user unknown"},
		{Result{Status: 68}, nil, "bounced 5.1.2 host name unknown"},
		{Result{Status: 69}, nil, "bounced 5.3.0 service unavailable"},
		{Result{Status: 70}, nil, "bounced 5.3.0 internal software error"},
		{Result{Status: 71}, nil, "deferred 4.3.0 system resource problem"},
		{Result{Status: 72}, nil, "bounced 5.3.0 critical OS file missing"},
		{Result{Status: 73}, nil, "bounced 5.2.0 can't create user output file"},
		{Result{Status: 74}, nil, "bounced 5.3.0 input/output error"},
		{Result{Status: 75, Output: []byte("later\nplease\n")}, nil, "deferred 4.3.0 temporary failure. Command output: later please"},
		{Result{Status: 76}, nil, "bounced 5.5.0 remote error in protocol"},
		{Result{Status: 77}, nil, "bounced 5.7.0 permission denied"},
		{Result{Status: 78}, nil, "bounced 5.3.5 local configuration error"},
		{Result{Status: 1}, nil, `bounced 5.3.0 Command died with status 1: "cmd x"`},
		{Result{Status: 99, Output: []byte("said\tit\x01\n")}, nil, `bounced 5.3.0 Command died with status 99: "cmd x". Command output: said it_`},
		{Result{Status: -1, Signal: 9}, nil, `deferred 4.3.0 Command died with signal 9: "cmd x"`},
		{Result{Status: -1, Signal: 9, TimedOut: true}, nil, `bounced 5.3.0 Command time limit exceeded: "cmd x"`},
		{Result{Status: 1, Output: []byte("4.2.1 wait\na bit\n")}, nil, "deferred 4.2.1 wait a bit"},
		{Result{Status: 75, Output: []byte("5.7.1 never")}, nil, "bounced 5.7.1 never"},
		{Result{Status: 1, Output: []byte("5.1.1")}, nil, "bounced 5.1.1 "},
		{Result{Status: 1, Output: []byte("2.1.1 fine")}, nil, `bounced 5.3.0 Command died with status 1: "cmd x". Command output: 2.1.1 fine`},
		{Result{Status: 75, Output: []byte("5.1 x")}, nil, "deferred 4.3.0 temporary failure. Command output: 5.1 x"},
		{Result{Status: 75, Output: []byte("5.1.x y")}, nil, "deferred 4.3.0 temporary failure. Command output: 5.1.x y"},
		{Result{Status: 75, Output: []byte("caf\xe9 \u0085")}, nil, "deferred 4.3.0 temporary failure. Command output: caf_ _"},
		{Result{}, &testError{unix.ENOENT}, `deferred 4.3.0 temporary failure. Command output: cannot run "cmd x": No such file or directory`},
		{Result{}, errors.New("no helper"), `deferred 4.3.0 temporary failure. Command output: cannot run "cmd x": no helper`},
		{Result{}, fmt.Errorf("uid 0: %w", privsep.ErrRoot), `deferred 4.3.5 cannot run command "cmd x": uid 0: refusing to act with the rights of root`},
		{Result{}, context.Canceled, "deferred 4.3.2 delivery was interrupted"},
		{Result{}, &TextError{errors.New("torn")}, "deferred 4.3.0 message text is not readable"},
	}
	for _, tt := range tests {
		s := Status("cmd x", tt.r, tt.err)
		if got := fmt.Sprintf("%s %s %s", s.Kind, s.DSN, s.Reason); got != tt.want {
			t.Errorf("Status(%+v, %v) = %s, want %s", tt.r, tt.err, got, tt.want)
		}
	}
}

// TestOutput: the report of a failure has what the program said, else what its
// exit status means; trouble before it ran is not its word.
func TestOutput(t *testing.T) {
	for _, tt := range []struct {
		r    Result
		err  error
		want string
	}{
		{Result{Output: []byte("all well")}, nil, ""},
		{Result{Status: 69, Output: []byte("some\noutput\n")}, nil, "some output"},
		{Result{Status: 69}, nil, "service unavailable"},
		{Result{Status: 1, Output: []byte("5.7.1 go away\n")}, nil, "go away"},
		{Result{Status: 1, Output: []byte("blah")}, nil, "blah"},
		{Result{Status: 1}, nil, `Command died with status 1: "cmd x"`},
		{Result{Signal: 9, Output: []byte("hmm")}, nil, "hmm"},
		{Result{TimedOut: true, Output: []byte("hmm")}, nil, "hmm"},
		{Result{}, &testError{unix.ENOENT}, `cannot run "cmd x": No such file or directory`},
		{Result{}, privsep.ErrRoot, ""},
		{Result{}, context.Canceled, ""},
		{Result{}, &TextError{errors.New("torn")}, ""},
	} {
		if got := Status("cmd x", tt.r, tt.err).Output; got != tt.want {
			t.Errorf("Status(%+v, %v).Output = %q, want %q", tt.r, tt.err, got, tt.want)
		}
	}
}

type testError struct{ err error }

func (e *testError) Error() string { return "exec: " + e.err.Error() }
func (e *testError) Unwrap() error { return e.err }

// FuzzStatus: whatever a program says, the status has a class that fits, and the
// reason is one line.
func FuzzStatus(f *testing.F) {
	for _, seed := range []string{"", "4.2.1 x", "5.1.1", "2.0.0 y", "5..1", "text\r\n\x00", "4.999.1000 z"} {
		f.Add(1, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, output []byte) {
		s := Status("cmd", Result{Status: status, Output: output}, nil)
		class := map[deliver.Kind]byte{deliver.Sent: '2', deliver.Deferred: '4', deliver.Bounced: '5'}[s.Kind]
		if s.DSN == "" || s.DSN[0] != class {
			t.Errorf("%v %s", s.Kind, s.DSN)
		}
		for _, c := range s.Reason {
			if c < ' ' {
				t.Fatalf("control character in %q", s.Reason)
			}
		}
	})
}

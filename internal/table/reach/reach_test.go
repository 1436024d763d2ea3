package reach

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCause(t *testing.T) {
	dial := func(network, address string) error {
		_, err := net.Dial(network, address)
		return err
	}
	call := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	dead := filepath.Join(t.TempDir(), "dead")
	listener, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	s := Server{Name: "slapd", Socket: "-h", Listen: "ldap.conf", Wait: 5 * time.Second}
	tests := []struct {
		server Server
		err    error
		unix   bool
		want   string
	}{
		{s, dial("tcp", "127.0.0.1:1"), false, "connection refused: is slapd running there, and does it listen on this address and port (ldap.conf)?"},
		{Server{}, dial("tcp", "127.0.0.1:1"), false, "connection refused: is the server running there, and does it listen on this address and port?"},
		{s, dial("unix", dead), true, "connection refused: nobody listens on this socket; is slapd running?"},
		{s, dial("unix", dead+".none"), true, "there is no such socket: is slapd running on this machine, and is this its socket (-h)?"},
		{s, call(syscall.EACCES), true, "permission denied: the user"},
		{s, call(syscall.EHOSTUNREACH), false, "no route to the host"},
		{s, call(syscall.ECONNRESET), false, "connection reset by peer"},
		{s, context.DeadlineExceeded, false, "no answer within 5s"},
		{s, &net.DNSError{Err: "no such host", Name: "db.test", IsNotFound: true}, false, `there is no host of the name "db.test"`},
		{s, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", Name: "db.test"}}, false, "server misbehaving"},
		{s, io.EOF, false, "EOF"},
		{s, errors.New("other"), false, "other"},
	}
	for _, tt := range tests {
		if got := tt.server.Cause(tt.err, tt.unix).Error(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

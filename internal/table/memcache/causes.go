package memcache

import (
	"errors"
	"io"

	"postern/internal/table/reach"
)

// plain is a failure to reach the server, or to hear from it, in words that say
// what to do.
func (c *client) plain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection")
	}
	server := reach.Server{Name: "memcached", Socket: "its option -s", Listen: "its options -l and -p", Wait: c.timeout}
	return server.Cause(err, c.network == "unix")
}

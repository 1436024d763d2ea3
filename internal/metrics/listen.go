package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Listen opens the socket of metrics_listen: "127.0.0.1:9100", "[::1]:9100",
// ":9100" for all addresses, or "unix:/path", which everybody on this machine
// may connect to.
func Listen(spec string) (net.Listener, error) {
	path, ok := strings.CutPrefix(spec, "unix:")
	if !ok {
		if _, _, err := net.SplitHostPort(spec); err != nil {
			return nil, fmt.Errorf("%q is neither host:port nor unix:path", spec)
		}
		return net.Listen("tcp", spec)
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("unix:%s: the path has to begin with a slash", path)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is in the way and no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Times that a reader may take. Nobody reads these figures for long.
const (
	headerTime = 10 * time.Second
	pageTime   = 30 * time.Second
	idleTime   = 2 * time.Minute
)

// Handler serves the page.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true}))
	return mux
}

// Serve serves the page until ctx ends, and closes l.
func (m *Metrics) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: m.Handler(), ReadHeaderTimeout: headerTime, ReadTimeout: pageTime, WriteTimeout: pageTime,
		IdleTimeout: idleTime, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics_listen: %w", err)
	}
	return nil
}

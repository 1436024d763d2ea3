package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// resolver is what is asked of dns.Client.
type resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupHost(ctx context.Context, host string) ([]netip.Addr, error)
}

// fetcher reads policies from web servers.
type fetcher struct {
	resolver resolver
	address  string // https_address; "": that of the web server
	client   *http.Client
}

func newFetcher(r resolver, roots *x509.CertPool, address string) *fetcher {
	f := &fetcher{resolver: r, address: address}
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            f.dial,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// RFC 8461, 3.3: redirects must not be followed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

// dial connects to a web server by the addresses that our own resolver finds.
func (f *fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if f.address != "" {
		return d.DialContext(ctx, network, f.address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := f.resolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs[:min(len(addrs), 4)] {
		var conn net.Conn
		each, cancel := context.WithTimeout(ctx, 3*time.Second) // the next address wants its chance
		conn, err = d.DialContext(each, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// url is where the policy of a domain is.
func url(domain string) string { return "https://mta-sts." + domain + "/.well-known/mta-sts.txt" }

// get reads the text of a policy (RFC 8461, 3.3).
func (f *fetcher) get(ctx context.Context, domain string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url(domain), nil)
	if err != nil {
		return "", err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the web server says %d", response.StatusCode)
	}
	if media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || media != "text/plain" {
		return "", fmt.Errorf("the media type %.80q is not text/plain", response.Header.Get("Content-Type"))
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxPolicy+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxPolicy {
		return "", errors.New("the policy has more than 64 KiB")
	}
	return string(text), nil
}

// Package settings checks what main.cf and master.cf say, without following an
// address: it is one room of package check.
//
//	VD310   written: what was hardly meant: typing errors, repetitions, comments
//	VD404   limits: a mailbox that is smaller than a message
//	VD501   owners: addresses that their own login may not send from
//	VD503   login: AUTH where it is missing, or can never be offered
//	VD509   certificates: expired, unreadable, or for another name
//	VD510   networks, relay: who may send to everywhere
//
// Every service of master.cf is looked at with its own -o options. What a server
// warns of and no code fits is in Notes.
//
// # Limits
//
// Stored passwords (VD504) are not looked at: there is no verifier that reads them.
//
// It imports access, address, check/inventory, config, finding, nearest, origin,
// route, setup, syntax, table, table/builtin, table/text and tlsconf.
package settings

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/internal/check/inventory"
	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
)

// Examine reports what is wrong with the settings of a configuration.
func Examine(ctx context.Context, i *inventory.Inventory, report finding.Report) {
	newExamination(i, report).run(ctx)
}

func newExamination(i *inventory.Inventory, report finding.Report) *examination {
	return &examination{Inventory: i, settings: i.Setup.Settings, open: map[string]bool{}, wrong: map[string]bool{}, torn: map[string]bool{}, now: time.Now,
		report: func(f finding.Finding) { report(withoutSecrets(f)) }}
}

func (x *examination) run(ctx context.Context) {
	x.readServices()
	x.written()
	x.limits(ctx)
	x.login()
	x.certificates(ctx)
	x.networks(ctx)
	x.relay(ctx)
	x.owners(ctx)
}

// examination is the work on one configuration.
type examination struct {
	*inventory.Inventory
	settings *config.Settings
	services []service
	faults   []*config.Fault // of the -o options
	wrong    map[string]bool // parameters whose values are: they are zero
	torn     map[string]bool // lines with an -o that blanks have torn apart: what is left of it is wrong, too
	open     map[string]bool // values of mynetworks that have the whole internet
	now      func() time.Time
	report   finding.Report
}

// service is a service of master.cf with its settings.
type service struct {
	config.Service
	settings *config.Settings
}

// readServices makes the settings of all services. One whose -o options are wrong
// has those of main.cf.
func (x *examination) readServices() {
	for _, m := range x.settings.Services() {
		s, err := x.settings.ForService(m)
		if err != nil {
			x.faults = append(x.faults, config.Faults(err)...)
			s = x.settings
		}
		x.services = append(x.services, service{m, s})
	}
}

// servers are the services that speak SMTP with the network, those behind
// postscreen(8) included.
func (x *examination) servers() []service {
	var list []service
	for _, m := range x.services {
		if m.Command == "smtpd" && (m.Type == "inet" || m.Type == "pass") {
			list = append(list, m)
		}
	}
	return list
}

// private reports whether only this host can connect to a service.
func (m service) private() bool {
	host := ""
	if i := strings.LastIndexByte(m.Name, ':'); i >= 0 {
		host = strings.Trim(m.Name[:i], "[]")
	}
	hosts := []string{host}
	if host == "" {
		hosts = m.settings.List("inet_interfaces")
	}
	for _, h := range hosts {
		a, err := netip.ParseAddr(strings.Trim(h, "[]"))
		if h != "loopback-only" && h != "localhost" && (err != nil || !a.IsLoopback()) {
			return false
		}
	}
	return true
}

// port is the port of a service as it is written: "smtp", "587".
func (m service) port() string {
	_, port, err := net.SplitHostPort(m.Name)
	if err != nil {
		return m.Name
	}
	return port
}

// withoutSecrets hides the text of lines that set a password.
func withoutSecrets(f finding.Finding) finding.Finding {
	at := make([]origin.At, len(f.At))
	for i, a := range f.At {
		name, _, found := strings.Cut(a.Text, "=")
		name = strings.TrimSpace(name)
		if found && (strings.HasSuffix(name, "password") || strings.HasSuffix(name, "bind_pw")) {
			a.Text = name + " = ..."
		}
		at[i] = a
	}
	f.At = at
	return f
}

// isDefault reports a place that nobody wrote.
func isDefault(at origin.At) bool { return at.Line == 0 }

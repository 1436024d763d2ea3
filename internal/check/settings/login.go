package settings

import (
	"fmt"
	"slices"

	"postern/internal/config"
	"postern/internal/finding"
	"postern/internal/origin"
)

// submissionPorts are the ports where users hand in their mail (RFC 6409, RFC 8314).
var submissionPorts = map[string]bool{"submission": true, "587": true, "submissions": true, "smtps": true, "465": true}

// login reports submission services without AUTH, and AUTH that can never be offered
// (VD503).
func (x *examination) login() {
	for _, m := range x.servers() {
		auth := m.settings.Bool("smtpd_sasl_auth_enable")
		if !auth && submissionPorts[m.port()] {
			x.report(finding.Finding{Code: "VD503", Severity: finding.Warning, At: []origin.At{m.At},
				Message: fmt.Sprintf("the submission service %s offers no AUTH: users cannot log in to send mail", m.Name),
				Fix:     fmt.Sprintf("add \"-o smtpd_sasl_auth_enable=yes\" to the service %s in master.cf", m.Name)})
		}
		if why, fix, at := x.neverOffered(m); auth && why != "" {
			x.report(finding.Finding{Code: "VD503", Severity: finding.Warning, At: at,
				Message: fmt.Sprintf("the service %s offers AUTH only under TLS, and %s: nobody can log in", m.Name, why),
				Fix:     fix})
		}
	}
}

// authPlace is where it is written that AUTH needs TLS, or the service.
func authPlace(m service) origin.At {
	for _, name := range []string{"smtpd_tls_auth_only", "smtpd_tls_security_level", "smtpd_tls_wrappermode"} {
		if v := m.settings.Value(name); v.Set {
			return v.At
		}
	}
	return m.At
}

// neverOffered is why a service that wants TLS before AUTH never has TLS, with the
// cure; "" when it has, or does not want it.
func (x *examination) neverOffered(m service) (why, fix string, at []origin.At) {
	v := m.settings
	wrapped := v.Bool("smtpd_tls_wrappermode")
	if !v.Bool("smtpd_tls_auth_only") && v.String("smtpd_tls_security_level") != "encrypt" && !wrapped && !v.Bool("smtpd_enforce_tls") {
		return "", "", nil
	}
	fix, at = "set smtpd_tls_security_level = may, smtpd_tls_cert_file and smtpd_tls_key_file", []origin.At{authPlace(m)}
	switch {
	case !hasCertificate(m):
		if o := overriding(m, certificateFiles...); o != nil && hasCertificate(service{m.Service, x.settings}) {
			fix = fmt.Sprintf("remove \"-o %s=%s\" from the service %s in master.cf", o.Name, o.Value, m.Name)
			return fmt.Sprintf("-o %s=%s takes the certificate of main.cf away", o.Name, o.Value), fix, []origin.At{o.At}
		}
		return "there is no certificate (smtpd_tls_cert_file, smtpd_tls_chain_files)", fix, at
	case !hasTLS(m) && submissionPorts[m.port()]: // elsewhere logins may not be wanted
		if o := overriding(m, "smtpd_tls_security_level", "smtpd_use_tls"); o != nil {
			fix = fmt.Sprintf("write \"-o smtpd_tls_security_level=may\" instead of \"-o %s=%s\" for the service %s in master.cf", o.Name, o.Value, m.Name)
			return fmt.Sprintf("TLS is off (-o %s=%s)", o.Name, o.Value), fix, []origin.At{o.At}
		}
		return "TLS is off (smtpd_tls_security_level)", fix, at
	}
	return "", "", nil
}

// overriding is the last -o of a service that sets one of the parameters, nil when
// there is none.
func overriding(m service, names ...string) *config.Override {
	for n := len(m.Overrides) - 1; n >= 0; n-- {
		if slices.Contains(names, m.Overrides[n].Name) {
			return &m.Overrides[n]
		}
	}
	return nil
}

// hasTLS reports whether a service has TLS switched on.
func hasTLS(m service) bool {
	v := m.settings
	switch v.String("smtpd_tls_security_level") {
	case "":
		return v.Bool("smtpd_use_tls") || v.Bool("smtpd_enforce_tls") || v.Bool("smtpd_tls_wrappermode")
	case "none":
		return v.Bool("smtpd_tls_wrappermode")
	}
	return true
}

// certificateFiles are the parameters that name certificates.
var certificateFiles = []string{"smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_eccert_file", "smtpd_tls_dcert_file"}

// hasCertificate reports whether a service names any certificate.
func hasCertificate(m service) bool {
	for _, name := range certificateFiles {
		if value := m.settings.String(name); value != "" && value != "none" {
			return true
		}
	}
	return false
}

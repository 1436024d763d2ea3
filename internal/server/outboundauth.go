package server

import (
	"context"
	"fmt"
	"runtime"

	"postern/internal/address"
	"postern/internal/config"
	"postern/internal/deliver/smtp"
	"postern/internal/sasl"
	"postern/internal/smtpc"
	"postern/internal/table"
)

// clientAuth reads the SASL parameters of smtp(8) or lmtp(8).
func clientAuth(g *generation, v *config.Settings, prefix string, log smtp.Logger, o *smtp.Options) error {
	if !v.Bool(prefix + "sasl_auth_enable") {
		return nil
	}
	maps := prefix + "sasl_password_maps"
	if v.String(maps) == "" {
		return fmt.Errorf("%v: %ssasl_auth_enable is set, but %s is empty: name a password table there", v.Value(prefix+"sasl_auth_enable").At, prefix, maps)
	}
	o.BySender = prefix == "smtp_" && v.Bool("smtp_sender_dependent_authentication")
	o.AuthBounces = !v.Bool(prefix + "sasl_auth_soft_bounce")
	passwords := &sasl.Passwords{
		Maps: outboundMaps(g, v, maps, log), BySender: o.BySender,
		Delimiter: address.Delimiter{Set: v.String("recipient_delimiter"), DoubleBounce: v.String("double_bounce_sender"),
			OwnerRequest: v.Bool("owner_request_special")},
	}
	chooser, err := mechanisms(g, v, prefix, log)
	if err != nil {
		return err
	}
	// The tables are open as long as the router of the generation is there.
	o.Credentials = func(ctx context.Context, sender, nextHop, host string) (user, password string, ok bool, err error) {
		defer runtime.KeepAlive(g)
		return passwords.Lookup(ctx, sender, nextHop, host)
	}
	o.Mechanism = func(ctx context.Context, user, password string, s smtpc.Server) (smtpc.Mechanism, error) {
		defer runtime.KeepAlive(g)
		return chooser.Choose(ctx, user, password, s)
	}
	return nil
}

// mechanisms reads which SASL mechanisms may be used.
func mechanisms(g *generation, v *config.Settings, prefix string, log smtp.Logger) (*sasl.Chooser, error) {
	c := &sasl.Chooser{Certificate: v.String(prefix+"tls_cert_file")+v.String(prefix+"tls_eccert_file")+v.String(prefix+"tls_chain_files") != ""}
	// In this order: each is the default of the next, and an error belongs to the first.
	for _, options := range []struct {
		parameter string
		to        *sasl.Properties
	}{
		{prefix + "sasl_security_options", &c.Clear},
		{prefix + "sasl_tls_security_options", &c.Encrypted},
		{prefix + "sasl_tls_verified_security_options", &c.Verified},
	} {
		var err error
		if *options.to, err = sasl.ParseProperties(v.List(options.parameter)); err != nil {
			return nil, fmt.Errorf("%v: %s: %w", v.Value(options.parameter).At, options.parameter, err)
		}
	}
	filter := v.Value(prefix + "sasl_mechanism_filter")
	use := table.Use{Parameter: prefix + "sasl_mechanism_filter", At: filter.At}
	var err error
	if c.Filter, err = g.tables.List(context.Background(), filter.Text, table.StringList, false, use); err != nil {
		log.Warningf("%v: %s: %v", filter.At, use.Parameter, err)
	}
	return c, nil
}

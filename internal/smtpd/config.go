package smtpd

import (
	"crypto/tls"
	"strings"
	"time"

	"postern/internal/smtp"
)

// TLSLevel is smtpd_tls_security_level.
type TLSLevel uint8

// TLS levels.
const (
	TLSNone    TLSLevel = iota // STARTTLS is not offered
	TLSMay                     // offered
	TLSEncrypt                 // commands other than EHLO, HELO, NOOP, STARTTLS and QUIT need it
)

// Config holds the settings of a service. It is not changed once it is part of a
// Profile. Every field is named after its main.cf parameter; a limit of 0 or
// less means none unless said otherwise.
type Config struct {
	Hostname string // myhostname, for replies
	Banner   string // smtpd_banner, expanded; the text behind "220 "
	Service  string // name of the master.cf service, for log lines about limits

	MessageSizeLimit int64 // message_size_limit
	LineLengthLimit  int   // line_length_limit: longer command lines are cut; 0: 2048
	HeloRequired     bool  // smtpd_helo_required
	DisableVrfy      bool  // disable_vrfy_command
	StrictRFC821     bool  // strict_rfc821_envelopes
	SMTPUTF8         bool  // smtputf8_enable
	SoftBounce       bool  // soft_bounce: 5xx replies become 4xx
	// PostfixCommands answers HELP as an unknown command, as Postfix does
	// (compatibility = postfix).
	PostfixCommands bool

	Timeout          time.Duration // smtpd_timeout, for a command, a piece of text, a reply; 0: 300 s
	StartTLSTimeout  time.Duration // smtpd_starttls_timeout; 0: 300 s
	SoftErrorLimit   int           // smtpd_soft_error_limit
	HardErrorLimit   int           // smtpd_hard_error_limit
	ErrorSleepTime   time.Duration // smtpd_error_sleep_time
	JunkCommandLimit int           // smtpd_junk_command_limit
	RecipientLimit   int           // smtpd_recipient_limit
	OvershootLimit   int           // smtpd_recipient_overshoot_limit
	ClientLimit      int           // smtpd_client_connection_count_limit

	ForbidBareNewline     smtp.BareNewline // smtpd_forbid_bare_newline
	BareNewlineRejectCode int              // smtpd_forbid_bare_newline_reject_code; 0: 550
	ForbidUnauthPipe      bool             // smtpd_forbid_unauth_pipelining
	KeepStrayCR           bool             // cleanup_replace_stray_cr_lf = no

	DiscardEhloKeywords map[string]bool        // smtpd_discard_ehlo_keywords, in upper case
	NoopCommands        map[string]bool        // smtpd_noop_commands, in upper case
	ForbiddenCommand    func(verb string) bool // smtpd_forbidden_commands; the verb as it came; nil: DefaultForbidden

	TLS         *tls.Config // certificates; nil: no TLS, whatever TLSLevel says
	TLSLevel    TLSLevel    // smtpd_tls_security_level
	WrapperMode bool        // smtpd_tls_wrappermode
	// NotifyClasses are the classes of notify_classes of which the postmaster gets
	// the transcript of a session: bounce, data, policy, protocol, software.
	NotifyClasses map[string]bool
	LogTLS        bool // smtpd_tls_loglevel above 0: a line for every TLS session
}

// DefaultConfig returns the settings of a Postfix without main.cf, with the
// defaults of Postern where they are safer.
func DefaultConfig(hostname string) Config {
	return Config{
		Hostname:         hostname,
		Banner:           hostname + " ESMTP Postern",
		Service:          "smtp",
		MessageSizeLimit: 10240000,
		LineLengthLimit:  2048,
		SMTPUTF8:         true,
		Timeout:          300 * time.Second,
		StartTLSTimeout:  300 * time.Second,
		SoftErrorLimit:   10,
		HardErrorLimit:   20,
		ErrorSleepTime:   time.Second,
		JunkCommandLimit: 100,
		RecipientLimit:   1000,
		OvershootLimit:   1000,
		ClientLimit:      50,
		ForbidUnauthPipe: true,
	}
}

// DefaultForbidden is the default of smtpd_forbidden_commands: CONNECT, GET,
// POST, and what does not start with a letter.
func DefaultForbidden(verb string) bool {
	switch strings.ToUpper(verb) {
	case "CONNECT", "GET", "POST":
		return true
	}
	return verb == "" || !('a' <= verb[0]|0x20 && verb[0]|0x20 <= 'z')
}

func (c *Config) forbidden(verb string) bool {
	if c.ForbiddenCommand != nil {
		return c.ForbiddenCommand(verb)
	}
	return DefaultForbidden(verb)
}

func (c *Config) timeout() time.Duration {
	if c.Timeout <= 0 {
		return 300 * time.Second
	}
	return c.Timeout
}

func (c *Config) startTLSTimeout() time.Duration {
	if c.StartTLSTimeout <= 0 {
		return 300 * time.Second
	}
	return c.StartTLSTimeout
}

func (c *Config) lineLimit() int {
	if c.LineLengthLimit <= 0 {
		return 2048
	}
	return c.LineLengthLimit
}

func (c *Config) bareNewlineCode() int {
	if c.BareNewlineRejectCode == 0 {
		return 550
	}
	return c.BareNewlineRejectCode
}

// offersTLS reports whether STARTTLS can be had.
func (c *Config) offersTLS() bool {
	return c.TLS != nil && c.TLSLevel != TLSNone && !c.DiscardEhloKeywords["STARTTLS"]
}

// extensions are what EHLO announces, in Postfix's order.
func (c *Config) extensions(encrypted, etrn bool) smtp.Extensions {
	var e smtp.Extensions
	e.Add("PIPELINING")
	e.Add(sizeLine(c.MessageSizeLimit))
	if !c.DisableVrfy {
		e.Add("VRFY")
	}
	if etrn {
		e.Add("ETRN")
	}
	if c.offersTLS() && !encrypted {
		e.Add("STARTTLS")
	}
	e.Add("ENHANCEDSTATUSCODES")
	e.Add("8BITMIME")
	e.Add("DSN")
	if c.SMTPUTF8 {
		e.Add("SMTPUTF8")
	}
	return e.Without(c.DiscardEhloKeywords)
}

// allowed are the parameters that MAIL and RCPT take. Postfix takes SIZE, BODY
// and AUTH also when they are not announced; DSN parameters then have a reply of
// their own, see dsnDisabled.
func (c *Config) allowed() smtp.Allowed {
	return smtp.Allowed{Size: true, EightBit: true, DSN: true, Auth: true, SMTPUTF8: c.SMTPUTF8}
}

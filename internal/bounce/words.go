package bounce

// daemon is who notifications are from; the origin is added to the address.
const daemon = "Mail Delivery System <MAILER-DAEMON>"

// help ends the texts of notifications that may puzzle their reader.
const help = `
Every address is followed by the reason. If a reason is not clear to you, ask
<postmaster@$myorigin> and send this report along; your own text in the
attached message may be left out.
`

// builtIn are the built-in templates. Their texts use no parameters but $myhostname
// and $myorigin.
var builtIn = [...]template{
	Failure: {
		charset: "us-ascii", from: daemon,
		subject: "Undelivered Mail Returned to Sender", postmaster: "Postmaster Copy: Undelivered Mail",
		text: `The mail server at $myhostname could not deliver your message to the
recipients listed below, and will not try again.
` + help,
	},
	Delay: {
		charset: "us-ascii", from: daemon,
		subject: "Delayed Mail (still being retried)", postmaster: "Postmaster Warning: Delayed Mail",
		text: `This is only a warning: you need not send your message again.

The mail server at $myhostname has not been able yet to deliver your
message to the recipients listed below. It keeps the message and goes on trying;
the attached report says until when.
` + help,
	},
	Success: {
		charset: "us-ascii", from: daemon, subject: "Successful Mail Delivery Report",
		text: `The mail server at $myhostname has delivered your message to the
recipients listed below. Where it was passed on to another server, or to several
recipients, you may still hear from others about it.
`,
	},
	Verify: {
		charset: "us-ascii", from: daemon, subject: "Mail Delivery Status Report",
		text: `The mail server at $myhostname sends you the report that was asked for.
`,
	},
}

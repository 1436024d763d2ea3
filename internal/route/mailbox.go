package route

// Format is the layout of a mailbox on disk.
type Format uint8

// Mailbox layouts.
const (
	Maildir Format = iota
	Mbox
)

// Mailbox is where a message for one recipient is stored.
type Mailbox struct {
	Path   string // absolute, cleaned; a Maildir's directory or an mbox file
	Base   string // directory that Path must not leave (virtual_mailbox_base, mail_spool_directory or the home directory)
	Format Format
	UID    int // owner of what is written
	GID    int
	User   string // system user name for local mailboxes, else ""
	// File marks a destination /file/name of an alias, an :include: or a .forward
	// file: it may be anywhere, its Base is the directory it is in, and only the
	// rights of UID and GID decide.
	File bool
}

// LocalKind is what local(8) does with one target of a recipient.
type LocalKind uint8

// What local(8) does.
const (
	LocalMailbox   LocalKind = iota // store in Mailbox, which may be a file that a list names
	LocalForward                    // send on to Forward
	LocalDiscard                    // accept and drop, with Reason
	LocalBounce                     // refuse for good, with DSN and Reason
	LocalDefer                      // try later, with DSN and Reason
	LocalTransport                  // hand to Transport and NextHop (mailbox_transport)
	LocalCommand                    // give to Command
)

// LocalTarget is one thing to do for a recipient of a local domain.
type LocalTarget struct {
	Kind    LocalKind
	Mailbox Mailbox  // LocalMailbox
	Forward []string // LocalForward: complete addresses in internal form
	// DeliveredTo is the address for the Delivered-To header of this target: the
	// recipient of the message or, with frozen_delivered_to = no, the last alias
	// or .forward file's user on the way. Of a LocalBounce it is the address that
	// failed.
	DeliveredTo string
	Sender      string // envelope sender override of owner-ALIAS; "" keeps it
	DSN         string
	Reason      string
	Transport   string // of LocalTransport
	NextHop     string // of LocalTransport; "": that of the recipient
	Command     Command
	// Recipient is the address that this target serves: the recipient of the
	// message, or the member of an alias that led here.
	Recipient string
}

// Command is a program that takes mail: |command of an alias, an :include: or a
// .forward file, or mailbox_command.
type Command struct {
	Line     string // as written, without '|'
	UID, GID int    // whose rights it gets; default_privs in the place of root
	Dir      string // command_execution_directory; "": queue_directory
	// For the environment (local(8), EXTERNAL COMMAND DELIVERY). Home and Shell
	// are empty for a command with the rights of default_privs.
	User, Local, Domain, Extension string
	Home, Shell                    string
}

// DeliveryError is why a recipient has no place to go. Agents turn it into a
// status: deferred when Temporary, else bounced.
type DeliveryError struct {
	DSN       string // enhanced status code, "5.1.1"
	Reason    string // `unknown user: "john@example.org"`
	Temporary bool
	Member    string // the member of an alias that failed; "": the recipient itself
	Err       error  // cause for the log, may be nil
}

func (e *DeliveryError) Error() string { return e.DSN + " " + e.Reason }

func (e *DeliveryError) Unwrap() error { return e.Err }

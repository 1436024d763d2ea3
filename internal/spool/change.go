package spool

import "time"

// Change is what happens to the spool in one step: all of it or none. A bounce
// and the record that it was bounced are one change, and so are an alias's
// forwards and the recipient that they replace.
type Change struct {
	New    []New
	Settle []Settlement
	Defer  []Postponement
	// Plan changes when messages are tried, whatever became of their recipients.
	Plan []Plan
	// Remove ends the work for all recipients of these messages, by number.
	Remove []uint64
	// Sync waits until the change is durable also when there is nothing New.
	// Without space for that it counts all the same: ErrUnwritten.
	Sync bool
}

// New puts a message in. The draft belongs to the spool afterwards.
type New struct {
	Draft    *Draft
	Envelope Envelope
	Held     bool // in the hold queue from the start (access action HOLD)
}

// Plan says when a message is tried next and whether it is on hold. A message
// on hold is tried by nobody until another Plan releases it. A message that is
// done with is passed over.
type Plan struct {
	Number uint64
	Next   time.Time // zero: at once
	Held   bool
}

// Waiting is what the index knows of a pending message without reading it.
type Waiting struct {
	Number uint64
	Next   time.Time // zero: never tried, or at once
	Held   bool
	// Recipients is how many it has, those that are done with included.
	Recipients int
}

// Settlement ends the work for some recipients of a message. Settling one
// twice does no harm. With New in the change the message has to be in the spool
// yet: nothing takes the place of what was removed.
type Settlement struct {
	Message  *Message
	Outcomes []Outcome
}

// Postponement records that recipients of a message are tried again at Next.
// Deferrals replace earlier ones of the same recipients; Next, Attempts and
// Warned replace what the message had.
type Postponement struct {
	Message   *Message
	Deferrals []Deferral
	Next      time.Time
	Attempts  int
	Warned    bool // the sender was told of the delay
}

// Pending is a message with recipients still to be served. Done has one
// element for each recipient; Deferrals are those of open recipients, by
// ascending index.
type Pending struct {
	Message   *Message
	Done      []bool
	Deferrals []Deferral
	Attempts  int
	Next      time.Time // zero: at once
	Warned    bool
	Held      bool // on hold: not tried
}

// Stats are the figures of a spool at one moment.
type Stats struct {
	Messages    int   // with open recipients
	Unstruck    int   // done, but waiting for a checkpoint
	LogBytes    int64 // size of all segments in use
	LiveBytes   int64 // of these, records still needed
	Segments    int   // in use
	Spares      int   // prepared for use
	Records     int64 // appended since Open
	Syncs       int64 // syncs of the log since Open
	Checkpoints int64 // since Open
	Moved       int64 // messages copied to the head of the log since Open

	SnapshotBytes int64     // size of the newest snapshot of the index; 0: none
	SnapshotLag   int64     // bytes of log that a start would read behind it
	SnapshotTime  time.Time // when it was made
}

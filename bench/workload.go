package main

// workload is one way to burden a server.
type workload struct {
	name string
	unit string
	load plan
	// copies is how many deliveries a message makes; 0: nothing is delivered.
	copies  int
	forward bool // to the sink instead of Maildirs
	trouble bool // with mail for destinations that hang, break off, and are dead
	idle    bool // connections that do nothing
	crowded bool // with a backlog; Postern alone, for nobody waits for Postfix to make it
	config  string
}

// boxes is the number of mailboxes.
const boxes = 1000

var workloads = []workload{
	{name: "4 KiB, 20 sessions, 100 messages a connection", unit: "messages/s", copies: 1,
		load: plan{Sessions: 20, PerConnection: 100, Size: 4096, Recipient: "box%d@bench.example", Addresses: boxes}},
	{name: "4 KiB, 20 sessions, one message a connection", unit: "messages/s", copies: 1,
		load: plan{Sessions: 20, PerConnection: 1, Size: 4096, Recipient: "box%d@bench.example", Addresses: boxes}},
	{name: "64 KiB, 20 sessions, 100 messages a connection", unit: "messages/s", copies: 1,
		load: plan{Sessions: 20, PerConnection: 100, Size: 65536, Recipient: "box%d@bench.example", Addresses: boxes}},
	{name: "each recipient an alias of 10 mailboxes", unit: "deliveries/s", copies: 10,
		load: plan{Sessions: 20, PerConnection: 100, Size: 4096, Recipient: "list%d@bench.example", Addresses: boxes / 10}},
	{name: "unknown recipients refused, one RCPT a write", unit: "replies/s",
		load:   plan{Sessions: 20, Recipient: "nobody%d@bench.example", Addresses: boxes, Refused: true},
		config: "smtpd_error_sleep_time = 0\nsmtpd_soft_error_limit = 1000000\nsmtpd_hard_error_limit = 1000000\nsmtpd_junk_command_limit = 1000000\n"},
	{name: "forwarded to an SMTP sink", unit: "messages/s", copies: 1, forward: true,
		load: plan{Sessions: 20, PerConnection: 100, Size: 4096, Recipient: "box%d@elsewhere.example", Addresses: boxes}},
	{name: "forwarded, while others hang, break off and are dead", unit: "messages/s", copies: 1, forward: true, trouble: true,
		load: plan{Sessions: 20, PerConnection: 100, Size: 4096, Recipient: "box%d@elsewhere.example", Addresses: boxes}},
	{name: "with a million messages in the queue", unit: "messages/s", copies: 1, crowded: true,
		load: plan{Sessions: 20, PerConnection: 100, Size: 4096, Recipient: "box%d@bench.example", Addresses: boxes}},
	{name: "idle connections", unit: "KiB each", idle: true, config: "default_process_limit = 20000\n"},
}

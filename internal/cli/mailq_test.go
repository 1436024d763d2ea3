package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/control/mailq"
)

var arrival = time.Date(2026, time.November, 23, 5, 0, 58, 0, time.Local)

// entries are messages as Postfix 3.7.11 had them when it wrote the texts below,
// with enable_long_queue_ids = yes.
func entries() []mailq.Entry {
	const refused = "connect to 127.0.0.1[127.0.0.1]:9: Connection refused"
	return []mailq.Entry{
		{ID: "4jXv0V5v46z1SRwP", State: "hold", Sender: "we ird@one.test", Size: 317, Arrival: arrival,
			Recipients: []mailq.Recipient{{Address: "q@far.test", Reason: refused}}},
		{ID: "4jXv0V5sbbz1SRwN", State: "deferred", Size: 9304, Arrival: arrival, Expired: true,
			Recipients: []mailq.Recipient{{Address: "z@other.test", Reason: refused}}},
		{ID: "4jXv0V5r9Mz1SRwC", State: "active", Sender: "a@one.test", Size: 315, Arrival: arrival,
			Recipients: []mailq.Recipient{{Address: "x@far.test", Reason: refused}, {Address: "y@far.test", Reason: refused}}},
	}
}

const postfixMailq = `----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4jXv0V5v46z1SRwP!      317 Mon Nov 23 05:00:58 "we ird"@one.test
                       (connect to 127.0.0.1[127.0.0.1]:9: Connection refused)
                                               q@far.test

4jXv0V5sbbz1SRwN#     9304 Mon Nov 23 05:00:58 MAILER-DAEMON
                       (connect to 127.0.0.1[127.0.0.1]:9: Connection refused)
                                               z@other.test

4jXv0V5r9Mz1SRwC*      315 Mon Nov 23 05:00:58 a@one.test
                       (connect to 127.0.0.1[127.0.0.1]:9: Connection refused)
                                               x@far.test
                                               y@far.test

-- 9 Kbytes in 3 Requests.
`

func TestMailq(t *testing.T) {
	var b strings.Builder
	p := &mailqPrinter{w: &b}
	for _, e := range entries() {
		if err := p.entry(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(postfixMailq, b.String()); diff != "" {
		t.Errorf("mailq (-want +got):\n%s", diff)
	}
}

// TestMailqMark: as Postfix marks what is in these states.
func TestMailqMark(t *testing.T) {
	for _, test := range []struct {
		state   string
		expired bool
		want    string
	}{
		{"hold", true, "!#"}, {"hold", false, "!"}, {"active", true, "*#"}, {"active", false, "*"},
		{"deferred", true, "#"}, {"deferred", false, ""}, {"maildrop", false, ""},
	} {
		if got := mailqMark(&mailq.Entry{State: test.state, Expired: test.expired}); got != test.want {
			t.Errorf("mark of %s, expired %t = %q, want %q", test.state, test.expired, got, test.want)
		}
	}
}

// TestMailqReasons: a reason is told once for recipients in a row that share it,
// and its lack is told after one that had one.
func TestMailqReasons(t *testing.T) {
	var b strings.Builder
	long := strings.Repeat("long ", 20)
	e := mailq.Entry{ID: "0000000004D2", Arrival: arrival, Sender: "a\x1b[31m@one.test", Recipients: []mailq.Recipient{
		{Address: "a@x.test"}, {Address: "b@x.test", Reason: "one\x1b[2J"}, {Address: "c@x.test"}, {Address: "d@x.test", Reason: long},
	}}
	p := &mailqPrinter{w: &b}
	if err := p.entry(&e); err != nil {
		t.Fatal(err)
	}
	want := mailqHeading + `0000000004D2             0 Mon Nov 23 05:00:58 "a?[31m"@one.test
                                               a@x.test
` + strings.Repeat(" ", 76-len("one?[2J")) + `(one?[2J)
                                               b@x.test
                                                          (reason unavailable)
                                               c@x.test
(` + long + `)
                                               d@x.test

`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("mailq (-want +got):\n%s", diff)
	}
}

func TestMailqJSON(t *testing.T) {
	// As Postfix wrote it.
	want := `{"queue_name": "deferred", "queue_id": "D7C2398C9B4", "arrival_time": 1795408690, "message_size": 322, "forced_expire": false, "sender": "\"we ird\"@one.test", "recipients": [{"address": "q@far.test", "delay_reason": "connect to 127.0.0.1[127.0.0.1]:9: Connection refused"}]}
{"queue_name": "hold", "queue_id": "D710498C9B3", "arrival_time": 1795408690, "message_size": 9309, "forced_expire": true, "sender": "MAILER-DAEMON", "recipients": [{"address": "y@far.test"}, {"address": "z@other.test"}]}
`
	at := time.Unix(1795408690, 0)
	var b strings.Builder
	for _, e := range []mailq.Entry{
		{ID: "D7C2398C9B4", State: "deferred", Sender: "we ird@one.test", Size: 322, Arrival: at, Recipients: []mailq.Recipient{
			{Address: "q@far.test", Reason: "connect to 127.0.0.1[127.0.0.1]:9: Connection refused"}}},
		{ID: "D710498C9B3", State: "hold", Size: 9309, Arrival: at, Expired: true, Recipients: []mailq.Recipient{{Address: "y@far.test"}, {Address: "z@other.test"}}},
	} {
		if err := writeMailqJSON(&b, &e); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if got, want := quoteJSON("<a&b>\"\\\n\x01\xff"), `"<a&b>\"\\\n\u0001`+"\ufffd"+`"`; got != want && got != `"<a&b>\"\\\n\u0001\ufffd"` {
		t.Errorf("quoteJSON = %s, want %s", got, want)
	}
}

// shapeOf counts entries as qshape does with these arguments.
func shapeOf(t *testing.T, list []mailq.Entry, now time.Time, args ...string) string {
	t.Helper()
	s := &shape{subdomains: 5, buckets: 10, tick: 5, width: shapeWidth, now: now}
	if _, _, err := s.parse(Env{Args: append([]string{"qshape"}, args...), Getenv: func(string) string { return "" }}); err != nil {
		t.Fatal(err)
	}
	s.rows = map[string]*shapeRow{shapeTotal: s.newRow()}
	for i := range list {
		if err := s.entry(&list[i]); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	s.print(&b)
	return b.String()
}

// TestQshape: as Postfix's qshape counted the same queue.
func TestQshape(t *testing.T) {
	now := arrival.Add(time.Minute)
	for _, test := range []struct {
		args string
		want string
	}{
		{"", `
                                         T  5 10 20 40 80 160 320 640 1280 1280+
                                  TOTAL  4  4  0  0  0  0   0   0   0    0     0
                               far.test  3  3  0  0  0  0   0   0   0    0     0
                             other.test  1  1  0  0  0  0   0   0   0    0     0
`},
		{"-s", `
                                         T  5 10 20 40 80 160 320 640 1280 1280+
                                  TOTAL  3  3  0  0  0  0   0   0   0    0     0
                               one.test  2  2  0  0  0  0   0   0   0    0     0
                          MAILER-DAEMON  1  1  0  0  0  0   0   0   0    0     0
`},
		{"-b 5", `
                                                               T  5 10 20 40 40+
                                                        TOTAL  4  4  0  0  0   0
                                                     far.test  3  3  0  0  0   0
                                                   other.test  1  1  0  0  0   0
`},
		{"-b 4 -t 2", `
                                                                   T  2  4  8 8+
                                                            TOTAL  4  4  0  0  0
                                                         far.test  3  3  0  0  0
                                                       other.test  1  1  0  0  0
`},
		{"-l -n 1", `
                                                T  5 10 15 20 25 30 35 40 45 45+
                                         TOTAL  4  4  0  0  0  0  0  0  0  0   0
`},
		{"-b 1", `
                                                                            T 0+
                                                                     TOTAL  4  4
                                                                  far.test  3  3
                                                                other.test  1  1
`},
	} {
		got := shapeOf(t, entries(), now, strings.Fields(test.args)...)
		if diff := cmp.Diff(test.want[1:], got); diff != "" {
			t.Errorf("qshape %s (-want +got):\n%s", test.args, diff)
		}
	}
}

// TestQshapeAges: which bucket an age falls into.
func TestQshapeAges(t *testing.T) {
	s := &shape{buckets: 10, tick: 5}
	linear := &shape{buckets: 10, tick: 5, linear: true}
	for _, test := range []struct {
		minutes, want, linear int
	}{{-5, 1, 1}, {0, 1, 1}, {4, 1, 1}, {5, 2, 2}, {9, 2, 2}, {10, 3, 3}, {19, 3, 4}, {20, 4, 5}, {1279, 9, 10}, {1280, 10, 10}, {100000, 10, 10}} {
		age := time.Duration(test.minutes) * time.Minute
		if got := s.bucket(age); got != test.want {
			t.Errorf("bucket(%v) = %d, want %d", age, got, test.want)
		}
		if got := linear.bucket(age); got != test.linear {
			t.Errorf("linear bucket(%v) = %d, want %d", age, got, test.linear)
		}
	}
}

// TestQshapeParents: parents count when they have enough subdomains, top level
// domains never do, and long names keep their end.
func TestQshapeParents(t *testing.T) {
	var list []mailq.Entry
	for _, d := range []string{"a.mail.example", "b.mail.example", "a.mail.example", "A.b." + strings.Repeat("long", 20) + ".example"} {
		list = append(list, mailq.Entry{Arrival: arrival, Sender: "x@" + d})
	}
	want := `
                                         T  5 10 20 40 80 160 320 640 1280 1280+
                                  TOTAL  4  4  0  0  0  0   0   0   0    0     0
                          .mail.example  3  3  0  0  0  0   0   0   0    0     0
                         a.mail.example  2  2  0  0  0  0   0   0   0    0     0
                         b.mail.example  1  1  0  0  0  0   0   0   0    0     0
+nglonglonglonglonglonglonglong.example  1  1  0  0  0  0   0   0   0    0     0
`
	got := shapeOf(t, list, arrival, "-s", "-p", "-m", "2")
	if diff := cmp.Diff(want[1:], got); diff != "" {
		t.Errorf("qshape -s -p -m 2 (-want +got):\n%s", diff)
	}
}

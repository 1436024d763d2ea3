// Package metrics counts what the server does and tells it to Prometheus
// (postconf metrics_listen):
//
//	postern_queue_messages{state="deferred"} 12
//	postern_deliveries_total{transport="virtual",result="sent"} 34567
//
// What happens is told by the methods of Metrics, from anywhere and at any time;
// what is the case is asked of Sources when somebody reads the page. Labels have
// only values that the configuration or this program bounds: names of
// transports, states, results. No address, host or domain is one.
//
// The page is text/plain in Prometheus' exposition format, at /metrics, and
// nothing else is served. It tells nothing of any message, but who can reach the
// address can read it: metrics_listen is meant for loopback or a Unix socket.
//
// It imports deliver, queue and spool, and Prometheus' client_golang.
package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"postern/internal/deliver"
	"postern/internal/queue"
)

// Buckets of the histograms, in seconds. Mail is delivered in milliseconds or
// waits for days.
var (
	delayBuckets = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 300, 3600, 86400}
	syncBuckets  = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 5}
)

// Metrics are the figures of one server. All methods may be called from many
// goroutines, and none of them blocks.
type Metrics struct {
	registry    *prometheus.Registry
	deliveries  *prometheus.CounterVec
	delays      struct{ before, queue, setup, transmission prometheus.Observer }
	removed     prometheus.Counter
	age         prometheus.Histogram
	spool       *prometheus.HistogramVec
	connections prometheus.Counter
	accepted    prometheus.Counter
	refused     *prometheus.CounterVec
	rejected    *prometheus.CounterVec
	logged      *prometheus.CounterVec
	tables      prometheus.Counter
}

var _ queue.Observer = (*Metrics)(nil)

// New returns the figures of a server of that version, all of them zero.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.deliveries = m.counters("postern_deliveries_total", "Recipients for which a delivery ended, by result.", "transport", "result")
	parts := m.histograms("postern_delivery_delay_seconds",
		"The parts of delays= in the log: before the active queue, in it, connecting, transmission.", delayBuckets, "part")
	m.delays.before, m.delays.queue = parts.WithLabelValues("before"), parts.WithLabelValues("queue")
	m.delays.setup, m.delays.transmission = parts.WithLabelValues("setup"), parts.WithLabelValues("transmission")
	m.removed = m.counter("postern_messages_removed_total", "Messages that are done with.")
	m.age = m.histogram("postern_message_age_seconds", "Age of messages when they are done with.", delayBuckets)
	m.spool = m.histograms("postern_spool_operation_seconds", "Time of one operation of the spool, a sync of its log above all.", syncBuckets, "operation")
	m.connections = m.counter("postern_smtpd_connections_total", "Connections taken.")
	m.accepted = m.counter("postern_smtpd_messages_accepted_total", "Messages that a client was told 250 for.")
	m.refused = m.counters("postern_smtpd_messages_refused_total", "Messages refused at the end of their text.", "class")
	m.rejected = m.counters("postern_smtpd_rejects_total", "Commands that the policy refused.", "command", "class")
	m.logged = m.counters("postern_log_lines_total", "Warnings and errors in the log.", "severity")
	m.tables = m.counter("postern_table_warnings_total", "Warnings that lookup tables gave. A lasting trouble is told once a minute.")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "postern_build_info", Help: "The running program.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

// Delivered counts the result of a recipient (queue.Observer). Without a
// transport it is "none".
func (m *Metrics) Delivered(transport string, kind deliver.Kind, d queue.Delays) {
	if transport == "" {
		transport = "none"
	}
	m.deliveries.WithLabelValues(transport, kind.String()).Inc()
	m.delays.before.Observe(d.Before.Seconds())
	m.delays.queue.Observe(d.Queue.Seconds())
	m.delays.setup.Observe(d.Setup.Seconds())
	m.delays.transmission.Observe(d.Transmission.Seconds())
}

// Removed counts a message that is done with (queue.Observer).
func (m *Metrics) Removed(age time.Duration) {
	m.removed.Inc()
	m.age.Observe(age.Seconds())
}

// Spooled counts an operation of the spool (spool.Options.Observe).
func (m *Metrics) Spooled(operation string, d time.Duration) {
	m.spool.WithLabelValues(operation).Observe(d.Seconds())
}

// Connected counts a connection.
func (m *Metrics) Connected() { m.connections.Inc() }

// Ended counts the end of a message's text, by the code of the reply.
func (m *Metrics) Ended(code int) {
	if code < 400 {
		m.accepted.Inc()
		return
	}
	m.refused.WithLabelValues(class(code)).Inc()
}

// Rejected counts a command that the policy refused with a reply code. A hangup
// without a reply has code 0.
func (m *Metrics) Rejected(command string, code int) {
	m.rejected.WithLabelValues(command, class(code)).Inc()
}

// Logged counts a line of the log, "warning" or "error".
func (m *Metrics) Logged(severity string) { m.logged.WithLabelValues(severity).Inc() }

// TableTrouble counts a warning that a lookup table gave.
func (m *Metrics) TableTrouble() { m.tables.Inc() }

// class is the first digit of a reply code, as it is spoken of.
func class(code int) string {
	switch code / 100 {
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return "hangup"
}

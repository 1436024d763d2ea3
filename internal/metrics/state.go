package metrics

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/queue"
	"postern/internal/spool"
)

// Sources are asked when the page is read. A nil one is left out.
type Sources struct {
	Queue    func() queue.Stats
	Spool    func() spool.Stats
	Free     func() (int64, error) // bytes of the spool's file system that are free for us
	Sessions func() int            // open SMTP sessions
	Started  time.Time
	Now      func() time.Time // nil: time.Now
}

// Watch adds the figures of s to the page. It is called once.
func (m *Metrics) Watch(s Sources) {
	if s.Now == nil {
		s.Now = time.Now
	}
	m.registry.MustRegister(&state{s: s})
}

// state is a collector of what is the case.
type state struct{ s Sources }

var (
	descMessages = desc("postern_queue_messages", "Messages in the queue, by state.", "state")
	descOldest   = desc("postern_queue_oldest_seconds", "Age of the oldest message in the queue; 0 when it is empty.")
	descActive   = desc("postern_queue_deliveries", "Deliveries under way, by transport.", "transport")
	descDead     = desc("postern_queue_dead_destinations", "Destinations that are not tried now because they failed, by transport.", "transport")
	descLog      = desc("postern_spool_log_bytes", "Size of the segments of the spool's log that are in use.")
	descLive     = desc("postern_spool_live_bytes", "Bytes of the spool's log that are still needed.")
	descSegments = desc("postern_spool_segments", "Segments of the spool's log, in use and prepared.", "state")
	descUnstruck = desc("postern_spool_unstruck_messages", "Messages done with that wait for the next checkpoint.")
	descRecords  = desc("postern_spool_records_total", "Records written to the spool's log.")
	descSyncs    = desc("postern_spool_syncs_total", "Syncs of the spool's log.")
	descChecks   = desc("postern_spool_checkpoints_total", "Checkpoints of the spool.")
	descMoved    = desc("postern_spool_moved_messages_total", "Messages copied to the head of the log to free a segment.")
	descSnapshot = desc("postern_spool_snapshot_bytes", "Size of the newest snapshot of the spool's index; 0: there is none.")
	descLag      = desc("postern_spool_snapshot_lag_bytes", "Bytes of the log that a start would read behind the snapshot.")
	descFree     = desc("postern_spool_free_bytes", "Free bytes of the spool's file system.")
	descSessions = desc("postern_smtpd_sessions", "Open SMTP sessions.")
	descStarted  = desc("postern_start_time_seconds", "When the server was started, in seconds since 1970.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe is empty: what there is depends on the sources.
func (c *state) Describe(chan<- *prometheus.Desc) {}

// Collect asks the sources.
func (c *state) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if c.s.Queue != nil {
		c.queue(gauge)
	}
	if c.s.Spool != nil {
		c.spool(gauge, out)
	}
	if c.s.Free != nil {
		if free, err := c.s.Free(); err == nil {
			gauge(descFree, float64(free))
		}
	}
	if c.s.Sessions != nil {
		gauge(descSessions, float64(c.s.Sessions()))
	}
	if !c.s.Started.IsZero() {
		gauge(descStarted, float64(c.s.Started.UnixNano())/1e9)
	}
}

func (c *state) queue(gauge func(*prometheus.Desc, float64, ...string)) {
	st := c.s.Queue()
	gauge(descMessages, float64(st.Incoming), "incoming")
	gauge(descMessages, float64(st.Active), "active")
	gauge(descMessages, float64(st.Deferred), "deferred")
	gauge(descMessages, float64(st.Held), "hold")
	oldest := 0.0
	if !st.Oldest.IsZero() {
		oldest = c.s.Now().Sub(st.Oldest).Seconds()
	}
	gauge(descOldest, max(oldest, 0))
	for _, name := range slices.Sorted(maps.Keys(st.Deliveries)) {
		gauge(descActive, float64(st.Deliveries[name]), name)
	}
	dead := map[string]int{}
	for _, d := range st.Dead {
		dead[d.Transport]++
	}
	for _, name := range slices.Sorted(maps.Keys(dead)) {
		gauge(descDead, float64(dead[name]), name)
	}
}

func (c *state) spool(gauge func(*prometheus.Desc, float64, ...string), out chan<- prometheus.Metric) {
	st := c.s.Spool()
	gauge(descLog, float64(st.LogBytes))
	gauge(descLive, float64(st.LiveBytes))
	gauge(descSegments, float64(st.Segments), "used")
	gauge(descSegments, float64(st.Spares), "spare")
	gauge(descUnstruck, float64(st.Unstruck))
	gauge(descSnapshot, float64(st.SnapshotBytes))
	gauge(descLag, float64(st.SnapshotLag))
	counter := func(d *prometheus.Desc, v int64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	counter(descRecords, st.Records)
	counter(descSyncs, st.Syncs)
	counter(descChecks, st.Checkpoints)
	counter(descMoved, st.Moved)
}

package queue
import ("testing";"context";"fmt";"os";"strings";"time";"runtime";"slices"
 "postern/internal/spool";"postern/internal/deliver")
func rss() string { b,_:=os.ReadFile("/proc/self/status"); var out []string; for l := range strings.Lines(string(b)) { if strings.HasPrefix(l,"VmHWM")||strings.HasPrefix(l,"VmRSS") {out=append(out,strings.Join(strings.Fields(l)," "))} }; return strings.Join(out," ") }
func TestMem(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(dir, spool.Options{}); if err != nil {t.Fatal(err)}
	for m := range 40 {
		d, _ := s.Create(0); fmt.Fprint(d, "Subject: x\n\nbody\n")
		e := spool.Envelope{Sender:"s@example.org", Arrival: time.Now()}
		for i := range 50000 { a := fmt.Sprintf("user%d-%d@down.example", m, i); e.Recipients = append(e.Recipients, spool.Recipient{Address:a, Original:a}) }
		if _, err := s.Commit(t.Context(), spool.Change{New: []spool.New{{Draft:d, Envelope:e}}}); err != nil {t.Fatal(err)}
	}
	s.Close()
	s, err = spool.Open(dir, spool.Options{}); if err != nil {t.Fatal(err)}
	defer s.Close()
	runtime.GC(); os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	fmt.Println("start", rss())
	mem := newMemory()
	tr := mem.virtual()
	tr.Agent = agent(func(_ context.Context, r *deliver.Request) []deliver.Status { return slices.Repeat([]deliver.Status{dead}, len(r.Recipients)) })
	mem.transport["virtual"] = tr
	o := mem.options(defaults); o.Store = s; o.Log = nil
	q := New(o)
	ctx, cancel := context.WithCancel(t.Context()); ended := make(chan struct{})
	go func() { defer close(ended); q.Run(ctx) }()
	wait := func() { for { st := q.Stats(); if st.Incoming==0 && st.Active==0 { q.mu.Lock(); n := q.ordered.len(); q.mu.Unlock(); if n == 0 {return} }; time.Sleep(50*time.Millisecond) } }
	began := time.Now()
	wait(); fmt.Println("first pass", rss(), time.Since(began))
	for range 2 { began = time.Now(); q.Flush(); wait(); fmt.Println("flush", rss(), time.Since(began)) }
	cancel(); <-ended
}

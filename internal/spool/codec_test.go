package spool

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

var compareAll = cmp.AllowUnexported(changed{}, state{}, mark{}, stored{}, settled{}, schedule{}, undone{}, planned{}, place{}, end{})

func exampleStored() stored {
	return stored{id: 1 << 50, size: 3, crc: checksum([]byte("abc")), envelope: Envelope{
		Sender: "s@x.test", Arrival: time.Unix(12, 34), EnvID: "e", Ret: "FULL", MessageID: "<m@x.test>", SMTPUTF8: true, Verify: true, Report: true,
		Recipients: []Recipient{{"a@x.test", "o@x.test", "rfc822;o@x.test", NotifyNever}, {Address: "b@x.test"}}}}
}

func exampleChanged() changed {
	return changed{
		news:   []stored{exampleStored()},
		settle: []settled{{7, []Outcome{{Index: 1}, {2, &Applied{"/m/new/x", 9, 100, 0xdeadbeef, false}}}}},
		states: []state{exampleKept(), {stored: exampleStored()}},
		plans:  []planned{{id: 4, held: true}, {5, time.Unix(7, 8), false}},
		remove: []uint64{1, 1 << 40},
		undo:   []undone{{7, []int{2, 3}}},
		owed:   []settled{{8, []Outcome{{0, &Applied{"/m/new/z", 9, 10, 11, false}}}}},
	}
}

func exampleKept() state {
	k := state{stored: exampleStored(), done: []int{1}, applied: []Outcome{{1, &Applied{"/m/new/y", 1, 2, 3, false}}},
		schedule: schedule{[]Deferral{{0, "4.2.2", "full"}}, time.Unix(5, 0), 1, false, true}}
	return k
}

func exampleMark() mark {
	return mark{"boot", 1 << 50, 3, place{4, 5000}, 2, []end{{3, 60000}, {4, 50000}}}
}

func TestCodec(t *testing.T) {
	c := exampleChanged()
	if got, err := decodeChanged(c.append(nil)); err != nil || !cmp.Equal(c, got, compareAll) {
		t.Errorf("change: %v\n%s", err, cmp.Diff(c, got, compareAll))
	}
	k := exampleKept()
	if got, err := decodeState(k.append(nil)); err != nil || !cmp.Equal(k, got, compareAll) {
		t.Errorf("keep: %v\n%s", err, cmp.Diff(k, got, compareAll))
	}
	m := exampleMark()
	if got, err := decodeMark(m.append(nil)); err != nil || !cmp.Equal(m, got, compareAll) {
		t.Errorf("mark: %v\n%s", err, cmp.Diff(m, got, compareAll))
	}
}

// TestCutMeta: no proper prefix of meta, and nothing longer, is accepted.
func TestCutMeta(t *testing.T) {
	c, k, m := exampleChanged(), exampleKept(), exampleMark()
	decoders := []struct {
		name   string
		meta   []byte
		decode func([]byte) error
	}{
		{"change", c.append(nil), func(b []byte) error { _, err := decodeChanged(b); return err }},
		{"keep", k.append(nil), func(b []byte) error { _, err := decodeState(b); return err }},
		{"mark", m.append(nil), func(b []byte) error { _, err := decodeMark(b); return err }},
	}
	for _, d := range decoders {
		for n := range d.meta {
			if d.decode(d.meta[:n]) == nil {
				t.Errorf("%s: %d bytes of %d are accepted", d.name, n, len(d.meta))
			}
		}
		if d.decode(append(d.meta, 0)) == nil {
			t.Errorf("%s: a byte too many is accepted", d.name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c, k, m := exampleChanged(), exampleKept(), exampleMark()
	f.Add(c.append(nil))
	f.Add(k.append(nil))
	f.Add(m.append(nil))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 20))
	f.Fuzz(func(t *testing.T, meta []byte) {
		// What can be decoded is the same after being encoded again.
		if c, err := decodeChanged(meta); err == nil {
			again, err := decodeChanged(c.append(nil))
			if err != nil || !cmp.Equal(c, again, compareAll) {
				t.Errorf("change: %v\n%s", err, cmp.Diff(c, again, compareAll))
			}
		}
		if k, err := decodeState(meta); err == nil {
			again, err := decodeState(k.append(nil))
			if err != nil || !cmp.Equal(k, again, compareAll) {
				t.Errorf("keep: %v\n%s", err, cmp.Diff(k, again, compareAll))
			}
		}
		if m, err := decodeMark(meta); err == nil {
			again, err := decodeMark(m.append(nil))
			if err != nil || !cmp.Equal(m, again, compareAll) {
				t.Errorf("mark: %v\n%s", err, cmp.Diff(m, again, compareAll))
			}
		}
	})
}

// segmentOf builds a segment from a script: a byte for the type, two lengths,
// meta and blob, each with right checksums; a type of 0 leaves a gap.
func segmentOf(key salt, gen uint64, script []byte) []byte {
	var seg []byte
	for len(script) >= 4 && len(seg) < 32<<10 {
		kind, metaLen, blobLen, durable := script[0], int(script[1]), int(script[2]), uint32(script[3])*64
		script = script[4:]
		metaLen = min(metaLen, len(script))
		meta := script[:metaLen]
		script = script[metaLen:]
		blobLen = min(blobLen, len(script))
		blob := script[:blobLen]
		script = script[blobLen:]
		h := head{recordType(kind), uint32(metaLen), uint32(blobLen), durable, checksum(meta)}
		off := int64(len(seg))
		if kind == 0 {
			seg = append(seg, make([]byte, h.length())...)
			continue
		}
		seg = key.appendHead(seg, h, gen, off)
		seg = append(append(seg, meta...), blob...)
		seg = append(seg, make([]byte, off+h.length()-int64(len(seg)))...)
	}
	return seg
}

func scriptOf(kind recordType, meta, blob []byte, durable byte) []byte {
	b := []byte{byte(kind), byte(len(meta)), byte(len(blob)), durable}
	return append(append(b, meta...), blob...)
}

// FuzzRecover opens a spool whose two segments are what the fuzzer likes, with
// right checksums where it does not say otherwise. It must open, work, and open
// again with the same messages.
func FuzzRecover(f *testing.F) {
	c, k, m := exampleChanged(), exampleKept(), mark{boot: "boot1", ids: 1 << 51, first: 1}
	all := slices.Concat(
		scriptOf(recordMark, m.append(nil), nil, 0),
		scriptOf(recordChange, c.append(nil), []byte("abc"), 1),
		scriptOf(recordKeep, k.append(nil), []byte("abc"), 2))
	f.Add(all, []byte{}, uint16(0), byte(0))
	f.Add(all, all, uint16(100), byte(7))
	f.Add(slices.Concat(all, []byte{0, 20, 0, 0}, all), scriptOf(recordMark, m.append(nil), nil, 9), uint16(3), byte(1))
	f.Add([]byte("PR\x03\x00"), binary.LittleEndian.AppendUint64(nil, 1<<63), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, one, two []byte, flip uint16, with byte) {
		var key salt
		copy(key[:], "0123456789abcdef")
		d := newMailDisk()
		for _, dir := range []string{"/spool", "/spool/log"} {
			d.dirs[dir] = true
		}
		d.files["/spool/format"] = &simFile{data: []byte("postern spool 1\nkey 30313233343536373839616263646566\n")}
		for gen, script := range [][]byte{one, two} {
			seg := segmentOf(key, uint64(gen+1), script)
			if int(flip) < len(seg) {
				seg[flip] ^= with
			}
			d.files["/spool/log/000000000000000"+string(rune('1'+gen))] = &simFile{data: seg}
		}
		s := mustOpen(t, "/spool", cutOptions(d.process(), 1))
		before := pendingOf(s)
		m := mustPut(t, s, testEnvelope(1, "a@x.test"), []byte("x\n"))
		d.kill()
		s.Close()
		s = mustOpen(t, "/spool", cutOptions(d.process(), 1))
		after := pendingOf(s)
		if len(after) != len(before)+1 || after[m.ID].Message == nil {
			t.Errorf("%d pending, then one more: %d", len(before), len(after))
		}
		d.kill()
		s.Close()
	})
}

// TestEqualTextsShare: a message with many recipients that wait for the same
// reason has the reason once in memory, and an address that was not rewritten.
func TestEqualTextsShare(t *testing.T) {
	reason, addr := "connection refused by the only server", "user@example.test"
	list := []Deferral{{0, "4.4.1", reason}, {1, "4.4.1", reason}, {2, "4.4.2", "other"}}
	d := decoder{b: appendDeferrals(nil, list)}
	if got := d.deferrals(); !slices.Equal(got, list) || unsafe.StringData(got[0].Reason) != unsafe.StringData(got[1].Reason) {
		t.Errorf("deferrals %v do not share their reason", got)
	}
	d = decoder{b: appendEnvelope(nil, &Envelope{Recipients: []Recipient{{Address: addr, Original: addr}}})}
	if got := d.envelope().Recipients[0]; got.Original != addr || unsafe.StringData(got.Original) != unsafe.StringData(got.Address) {
		t.Errorf("recipient %v does not share its address", got)
	}
}

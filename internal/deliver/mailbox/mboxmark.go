package mailbox

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// appendMark is the extended attribute that an mbox has while a message is being
// appended: its length before, a blank, and the From line of the message. One that is
// there when the next delivery has the lock is left of a server that died. File systems
// without such attributes, and readers that write the file anew, lose nothing but this
// help.
const appendMark = "user.postern.append"

// setMark says that a message will be appended at size.
func (f *mboxFile) setMark(size int64, from []byte) {
	text := append(strconv.AppendInt(nil, size, 10), ' ')
	_ = unix.Fsetxattr(f.fd, appendMark, append(text, from...), 0)
}

// clearMark says that the end of the file is whole.
func (f *mboxFile) clearMark() { _ = unix.Fremovexattr(f.fd, appendMark) }

// marked is where a message began to be appended that may not be whole, and its From
// line; -1 if there is none.
func (f *mboxFile) marked() (at int64, from []byte) {
	var text [1 << 10]byte
	n, err := unix.Fgetxattr(f.fd, appendMark, text[:])
	if err != nil {
		return -1, nil
	}
	number, from, ok := bytes.Cut(text[:n], []byte(" "))
	if at, err = strconv.ParseInt(string(number), 10, 64); err != nil || !ok || at < 0 || !bytes.HasPrefix(from, fromWord) {
		return -1, nil
	}
	return at, bytes.Clone(from)
}

// cutPart cuts off a part of a message, of whichever delivery, that a server has left
// behind when it died. That delivery was not recorded, so the message comes again: but
// its own next attempt sees a part only as long as nothing is behind it.
func (f *mboxFile) cutPart(m *Message, st *unix.Stat_t) error {
	at, from := f.marked()
	if at < 0 || at >= st.Size {
		return nil
	}
	part, err := f.isPart(at, st.Size, from)
	if err != nil || !part {
		return err
	}
	f.store.o.Log.Infof("%s: removing a partial message, of an earlier delivery, from %s", m.ID, f.box.Path)
	if err := again(func() error { return unix.Ftruncate(f.fd, at) }); err != nil {
		return err
	}
	st.Size = at
	return nil
}

// isPart reports whether what begins at a mark is a part of the marked message and
// nothing else: empty lines, its From line, and no other "From " that is not quoted,
// with which anybody else's message would begin, wherever he has put it. What ends in an
// empty line may be whole, and stays.
func (f *mboxFile) isPart(at, size int64, from []byte) (bool, error) {
	buffer := make([]byte, min(size-at, searchPiece))
	first, before := true, byte('\n')
	for at < size {
		piece := buffer[:min(int64(len(buffer)), size-at)]
		if n, err := f.ReadAt(piece, at); n < len(piece) {
			return false, err
		}
		text := piece
		if first {
			text = bytes.TrimLeft(text, "\n")
			if len(text) < len(from) {
				return at+int64(len(piece)) == size && bytes.HasPrefix(from, text), nil
			}
			if !bytes.HasPrefix(text, from) {
				return false, nil
			}
			text, first = text[len(from):], false
		}
		if hasFrom(before, text) {
			return false, nil
		}
		if at+int64(len(piece)) == size {
			return !bytes.HasSuffix(piece, []byte("\n\n")), nil
		}
		// The next piece begins with the end of this one, where a From line may be cut.
		keep := len(fromWord) + searchedFrom
		before = piece[len(piece)-keep-1]
		at += int64(len(piece) - keep)
	}
	return false, nil
}

// isFromLine reports whether a text begins with a From line as programs write it, with
// a weekday behind the sender: behind a '>' it may be that a part of ours ended there.
func isFromLine(text []byte) bool {
	line, _, _ := bytes.Cut(text[:min(len(text), searchedFrom)], []byte("\n"))
	words := bytes.Fields(line)
	return len(words) > 2 && len(words[2]) == 3 && bytes.Contains([]byte("Mon Tue Wed Thu Fri Sat Sun"), words[2])
}

// searchedFrom bounds how much is looked at for a From line.
const searchedFrom = 1 << 10

// hasFrom reports whether there is a "From " in the text that is not quoted. before is
// the octet in front of the text.
func hasFrom(before byte, text []byte) bool {
	for at := 0; ; {
		i := bytes.Index(text[at:], fromWord)
		if i < 0 {
			return false
		}
		at += i
		if at > 0 {
			before = text[at-1]
		}
		if before != '>' || isFromLine(text[at:]) {
			return true
		}
		at += len(fromWord)
	}
}

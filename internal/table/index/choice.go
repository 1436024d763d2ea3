package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"postern/internal/table"
	"postern/internal/table/text"
)

// refresh examines the files, unless somebody else does.
func (t *Table) refresh(ctx context.Context) {
	select {
	case t.changing <- struct{}{}:
		defer func() { <-t.changing }()
		t.examine(ctx, false)
	default:
	}
}

// reload waits until the files were examined after a change. An error is why
// nothing can answer.
func (t *Table) reload(ctx context.Context) error {
	select {
	case t.changing <- struct{}{}:
		defer func() { <-t.changing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.mu.RLock()
	changed := t.current != nil && !t.current.unchanged()
	t.mu.RUnlock()
	if !changed {
		return nil // somebody else was faster
	}
	return t.examine(ctx, false)
}

// examine decides which file answers, and opens it when that is another one
// than before. opening: nothing answers yet. Only the holder of changing calls
// it, and the constructor.
func (t *Table) examine(ctx context.Context, opening bool) error {
	t.saying = ""
	defer func() {
		t.told = t.saying
		t.next.Store(t.o.Clock().Add(checkInterval).UnixNano())
	}()
	index, indexErr := statPath(t.o, t.index)
	source, sourceErr := statPath(t.o, t.path)
	settled := opening || t.settled(source)
	switch newer := source.modified().After(index.modified()); {
	case t.text != nil && indexErr != nil && sourceErr != nil:
		return nil // it says that its file is gone, and what it has read stays in use
	case sourceErr != nil || indexErr == nil && !newer:
	case t.o.Autocompile && indexErr != nil:
		return t.answerFromText(ctx, fmt.Sprintf("%v", table.OpenError("database "+t.index, indexErr)), index)
	case t.o.Autocompile && (settled || t.text != nil):
		return t.answerFromText(ctx, fmt.Sprintf("%s is newer than %s", t.path, t.index), index)
	case !t.o.Autocompile && indexErr != nil:
		t.once(fmt.Sprintf("there is no index of %s: run \"%s\" (table_autocompile = no)", t.path, t.command()))
	case !t.o.Autocompile && t.o.Clock().Sub(source.modified()) > staleAfter:
		t.once(fmt.Sprintf("database %s is older than source file %s", t.index, t.path))
	}
	err := t.answerFromIndex(ctx, index)
	if opening && os.IsNotExist(indexErr) && os.IsNotExist(sourceErr) && t.o.Autocompile {
		err = fmt.Errorf("%w; there is no source text %s either", err, t.path)
	}
	return err
}

// settled reports whether nobody seems to be writing the source text: it has
// stood still since the last examination, or for a second. One that is written
// all the time counts as settled after a while.
func (t *Table) settled(source stamp) bool {
	now, before := t.o.Clock(), t.seen
	t.seen = source
	if source == before || now.Sub(source.modified()) >= checkInterval {
		t.restless = time.Time{}
		return true
	}
	if t.restless.IsZero() {
		t.restless = now
	}
	return now.Sub(t.restless) >= table.Patience
}

// command is how an administrator builds the index.
func (t *Table) command() string {
	if t.use.AliasSyntax {
		return "postalias " + t.name
	}
	return "postmap " + t.name
}

// once logs a warning unless the last examination gave the same.
func (t *Table) once(warning string) {
	if t.told != warning {
		t.o.Warn("%s", warning)
	}
	t.saying = warning
}

// answerFromText lets the source text answer, unless it cannot be read.
func (t *Table) answerFromText(ctx context.Context, why string, index stamp) error {
	if t.text != nil {
		return nil // it sees itself whether it changes
	}
	rows, err := t.openText()
	if err != nil {
		if index == (stamp{}) {
			return err
		}
		t.once(fmt.Sprintf("%s, but %v; the index answers", why, err))
		return t.answerFromIndex(ctx, index)
	}
	t.o.Info("%s: %s: the source text answers; run \"%s\" (table_autocompile)", t.name, why, t.command())
	t.become(nil, rows, nil)
	return nil
}

// answerFromIndex lets the index answer. index is the stamp of the file that
// has its name now.
func (t *Table) answerFromIndex(ctx context.Context, index stamp) error {
	if t.isCurrent(index) {
		return nil
	}
	m, err := openMapping(ctx, t.o, t.format, t.index)
	switch {
	case err == nil:
		if t.text != nil {
			t.o.Info("%s: %s is up to date and answers again", t.name, t.index)
		}
		t.become(m, nil, nil)
		return nil
	case ctx.Err() != nil:
		return err // the caller went away; that says nothing about the file
	case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) && t.keep():
		t.once(fmt.Sprintf("%v; the file opened before stays in use", err))
		return nil
	}
	t.become(nil, nil, err)
	return err
}

// isCurrent reports whether the file of that stamp is the one that answers.
func (t *Table) isCurrent(index stamp) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current != nil && t.current.stamp == index
}

// become changes what answers.
func (t *Table) become(m *mapping, rows *text.Table, trouble error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		if m != nil {
			m.close()
		}
		return
	}
	if t.current != nil {
		t.current.close()
	}
	t.current, t.text, t.trouble = m, rows, trouble
	t.form.Store(unknownForm)
}

// keep lets an index answer whose name was removed or cannot be seen any more, if
// it was not written since it was mapped.
func (t *Table) keep() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current != nil && t.current.removed()
}

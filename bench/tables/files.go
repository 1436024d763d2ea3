package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"postern/internal/table/builtin"
)

// indexed are the types of index files.
var indexed = []string{"hash", "btree", "lmdb", "cdb"}

// builds measures postmap TYPE:FILE, and holds that each side reads what the
// other wrote.
func (b *bench) builds(ctx context.Context) error {
	fmt.Printf("\npostmap TYPE:FILE, %d entries\n", b.entries)
	for _, typ := range indexed {
		for _, order := range orders {
			err := b.duel(typ+", "+order, func(s side) (time.Duration, error) {
				source := b.path(s.name + "-" + typ)
				if err := fresh(b.path(order), source, b.indexFile(s, typ)); err != nil {
					return 0, err
				}
				return timed(s.command(ctx, typ+":"+source))
			})
			if err != nil {
				return err
			}
		}
		if err := b.interop(ctx, typ); err != nil {
			return err
		}
	}
	return nil
}

// indexFile is the index that a side writes.
func (b *bench) indexFile(s side, typ string) string {
	return b.path(s.name+"-"+typ) + builtin.Formats()[typ].Suffix
}

// fresh makes source a link to the text and removes the index.
func fresh(text, source, index string) error {
	for _, name := range []string{source, index} {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.Link(text, source)
}

// interop holds that all rows come out of both files, whoever reads them.
func (b *bench) interop(ctx context.Context, typ string) error {
	want, err := digest(exec.CommandContext(ctx, "cat", b.path("random")))
	if err != nil {
		return err
	}
	sides := b.sides()
	for _, writer := range sides {
		for _, reader := range sides {
			cmd := reader.command(ctx, "-s", typ+":"+b.path(writer.name+"-"+typ))
			if typ == "cdb" { // postmap cannot list it
				keys, err := os.Open(b.path("keys"))
				if err != nil {
					return err
				}
				defer keys.Close()
				cmd = reader.command(ctx, "-q", "-", typ+":"+b.path(writer.name+"-"+typ))
				cmd.Stdin = keys
			}
			got, err := digest(cmd)
			if err != nil {
				return err
			}
			if got != want {
				return fmt.Errorf("%s does not read all rows of the %s file that %s wrote", reader.name, typ, writer.name)
			}
		}
	}
	ours := b.indexFile(sides[1], typ)
	tool := map[string][]string{"hash": {"db5.3_verify", "-q", ours}, "btree": {"db5.3_verify", "-q", ours}, "lmdb": {"mdb_stat", "-n", ours}, "cdb": {"cdb", "-s", ours}}[typ]
	if out, err := exec.CommandContext(ctx, tool[0], tool[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", tool, err, out)
	}
	fmt.Printf("%-34s all %d rows read by each side from both files; %s accepts ours\n", typ, b.entries, tool[0])
	return nil
}

// digest is the hash of the lines that a command prints, in sorted order.
func digest(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w", cmd.Args, err)
	}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	slices.SortFunc(lines, bytes.Compare)
	h := sha256.New()
	for _, l := range lines {
		h.Write(append(l, '\n'))
	}
	return fmt.Sprintf("%d %x", len(lines), h.Sum(nil)), nil
}

// queries measures postmap -q - on the files that Debian's postmap wrote.
func (b *bench) queries(ctx context.Context) error {
	fmt.Printf("\npostmap -q - TYPE:FILE, %d keys in random order\n", b.entries)
	if err := b.theirIndexes(ctx); err != nil {
		return err
	}
	for _, typ := range indexed {
		if err := b.askAll(ctx, typ); err != nil {
			return err
		}
	}
	return nil
}

// theirIndexes has Debian's postmap build an index of each type of the rows in
// random order, unless it is there.
func (b *bench) theirIndexes(ctx context.Context) error {
	theirs := b.sides()[0]
	for _, typ := range indexed {
		if _, err := os.Stat(b.path("their-" + typ)); err == nil {
			continue
		}
		if err := os.Link(b.path("random"), b.path("their-"+typ)); err != nil {
			return err
		}
		if err := theirs.command(ctx, typ+":"+b.path("their-"+typ)).Run(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) askAll(ctx context.Context, typ string) error {
	return b.duel(typ, func(s side) (time.Duration, error) {
		return b.ask(s.command(ctx, "-q", "-", typ+":"+b.path("their-"+typ)), b.entries)
	})
}

// ask feeds all keys to a command and holds that it answers so many.
func (b *bench) ask(cmd *exec.Cmd, want int) (time.Duration, error) {
	keys, err := os.Open(b.path("keys"))
	if err != nil {
		return 0, err
	}
	defer keys.Close()
	cmd.Stdin = keys
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	n, err := countLines(out)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	took := time.Since(start)
	if err == nil && n != want {
		err = fmt.Errorf("%d answers, want %d", n, want)
	}
	return took, err
}

func countLines(r io.Reader) (n int, err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	buf := make([]byte, 1<<20)
	for {
		got, err := in.Read(buf)
		n += bytes.Count(buf[:got], []byte("\n"))
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// texthash measures how long a text takes to be ready: one question.
func (b *bench) texthash(ctx context.Context) error {
	fmt.Printf("\npostmap -q KEY texthash:FILE, %d rows\n", b.entries)
	return b.duel("texthash", func(s side) (time.Duration, error) {
		cmd := s.command(ctx, "-q", key(1), "texthash:"+b.path("random"))
		start := time.Now()
		out, err := cmd.Output()
		if err == nil && strings.TrimSpace(string(out)) != value(1) {
			err = fmt.Errorf("the answer is %q", out)
		}
		return time.Since(start), err
	})
}

package setup

import (
	"context"
	"os"

	"postern/internal/privsep"
	"postern/internal/table"
)

// files reads ~/.forward and :include: files, or their drafts.
func files(drafts *table.Drafts) privsep.FileReader {
	if drafts == nil {
		return privsep.NewFiles()
	}
	return drafted{privsep.NewFiles(), drafts}
}

// drafted reads the drafts of files.
type drafted struct {
	privsep.FileReader
	drafts *table.Drafts
}

// ReadFile reads a file. A draft is read as this process, and has the owner and the
// mode of the file that it is to replace.
func (d drafted) ReadFile(ctx context.Context, id privsep.Identity, path string, limit int64) ([]byte, privsep.FileInfo, error) {
	content, info, err := d.FileReader.ReadFile(ctx, id, path, limit)
	draft, ok := d.drafts.Of(path)
	if err != nil || !ok {
		return content, info, err
	}
	content, err = os.ReadFile(draft)
	info.Size = int64(len(content))
	return content[:min(int64(len(content)), limit)], info, err
}

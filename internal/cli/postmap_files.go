package cli

import (
	"encoding/base64"
	"errors"
	"fmt"

	"postern/internal/table"
	"postern/internal/table/index"
)

var errBase64 = errors.New("malformed BASE64 value")

// value is what is shown of a value. With -F that is the content of the files
// it names: an index holds it already, in base64. line is where the value is
// written, 0 when it comes from an index. An empty value gets a warning.
func (t *mapTool) value(from table.Table, key, value string, line int) (string, error) {
	if value == "" {
		t.log.Warningf("table %s: key %s: empty string result is not allowed", from.Name(), key)
		t.log.Warningf("table %s should return NO RESULT in case of NOT FOUND", from.Name())
	}
	if !t.files {
		return value, nil
	}
	if t.indexed(from) && line == 0 {
		content, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", fmt.Errorf("table %s: key %s: %w: %s", from.Name(), key, errBase64, value)
		}
		return string(content), nil
	}
	content, err := index.ReadFiles(value)
	if err != nil {
		return "", fmt.Errorf("table %s: key %s: %w", from.Name(), key, err)
	}
	return string(content), nil
}

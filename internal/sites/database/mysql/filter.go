package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
)

// endMark begins the last line of a dump that is complete.
const endMark = "-- Dump completed"

// maxHead is how much of a line is looked at. What has a definer is short, rows
// of content are not.
const maxHead = 1 << 16

var (
	// definer is who a view, trigger or routine belongs to. Without it, that is
	// who loads the dump.
	definer = regexp.MustCompile("DEFINER=(`(?:[^`]|``)*`|'[^']*'|[^\\s`'@*]+)@(`(?:[^`]|``)*`|'[^']*'|[^\\s`'@*]+)")
	// sandbox is the first line of MariaDB's newer dumps, on which older clients
	// and MySQL's choke.
	sandbox = []byte(`/*M!999999\- enable the sandbox mode`) //nolint:gochecknoglobals // it is never changed
)

// clean copies a dump without definers and without the line for MariaDB's
// sandbox. Rows are passed on as they are: mysqldump writes their line breaks
// escaped, so that no line of a row begins like a statement.
func clean(w io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, maxHead)
	atStart := true
	for {
		part, err := in.ReadSlice('\n')
		if len(part) > 0 {
			if atStart {
				part = cleanHead(part)
			}
			atStart = !errors.Is(err, bufio.ErrBufferFull)
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func cleanHead(head []byte) []byte {
	switch {
	case bytes.HasPrefix(head, sandbox):
		return nil
	case bytes.HasPrefix(head, []byte("/*!50013 DEFINER=")), bytes.HasPrefix(head, []byte("/*!50003 CREATE*/ /*!500")),
		bytes.HasPrefix(head, []byte("/*!50106 CREATE*/ /*!50117 DEFINER=")),
		bytes.HasPrefix(head, []byte("CREATE ")), bytes.HasPrefix(head, []byte("/*!50001 CREATE ")), bytes.HasPrefix(head, []byte("/*!50003 CREATE DEFINER=")):
		loc := definer.FindIndex(head)
		if loc == nil {
			return head
		}
		return append(append([]byte(nil), head[:loc[0]]...), head[loc[1]:]...)
	}
	return head
}

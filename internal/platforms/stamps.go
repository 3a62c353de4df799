package platforms

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"hefring/internal/tree"
)

// stampsName is the file that says how a platform's files looked when it was
// sealed. A build that shares them need not read those that look so still. It may
// be lost: then they are read.
const stampsName = "stamps"

const stampsMagic = "hefring stamps 1 of "

// stampsText has a line for each file of the manifest, in its order: inode, time
// of the last write in nanoseconds, git's name of the content.
func (j *sealing) stampsText(of string) []byte {
	text := []byte(stampsMagic + of + "\n")
	for _, line := range j.manifest {
		if line.Kind != 'f' {
			continue
		}
		stamp := j.stamps[line.Path]
		text = append(strconv.AppendUint(text, stamp.Inode, 10), ' ')
		text = append(strconv.AppendInt(text, stamp.Written, 10), ' ')
		text = append(append(text, j.blobs[line.Path]...), '\n')
	}
	return text
}

// parseStamps gives the stamps that belong to a manifest, nil when they are missing
// or damaged.
func parseStamps(text []byte, of string, m tree.Manifest) map[string]tree.Stamp {
	head, rest, _ := strings.Cut(string(text), "\n")
	if head != stampsMagic+of {
		return nil
	}
	stamps := make(map[string]tree.Stamp, len(m))
	for _, line := range m {
		if line.Kind != 'f' {
			continue
		}
		var own string
		own, rest, _ = strings.Cut(rest, "\n")
		stamp, err := parseStamp(own)
		if err != nil {
			return nil
		}
		stamp.Size = line.Size
		stamps[line.Path] = stamp
	}
	return stamps
}

func parseStamp(text string) (s tree.Stamp, err error) {
	fields := strings.Split(text, " ")
	if len(fields) != 3 {
		return s, errors.New("a stamp has not 3 fields")
	}
	if s.Inode, err = strconv.ParseUint(fields[0], 10, 64); err != nil {
		return s, err
	}
	if s.Written, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return s, err
	}
	s.Blob = fields[2]
	_, err = hex.DecodeString(s.Blob)
	return s, err
}

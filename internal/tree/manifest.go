package tree

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Line is one entry of a manifest.
type Line struct {
	Kind byte // d folder, f file, l symbolic link
	Mode fs.FileMode
	Size int64
	Sum  string // SHA-256 of a file, in hex; "-" for others
	Path string
	Link string
}

// Manifest lists a whole tree: every entry's kind, permissions, size, hash and
// link target, by path.
type Manifest []Line

// Scan reads a tree into a manifest. With uniform the permission bits say only
// who may execute, so that two copies of one tree are equal whatever the umask.
func Scan(ctx context.Context, dir string, o Options, uniform bool) (Manifest, error) {
	var h Hashes
	var m Manifest
	err := h.Walk(ctx, dir, o, func(e Entry) error {
		line := Describe(e)
		if uniform && line.Kind != 'l' {
			line.Mode = Sealed(e.Info.Mode())
		}
		m = append(m, line)
		if line.Kind != 'f' {
			return nil
		}
		return h.Add(e, len(m)-1)
	})
	if err != nil {
		return nil, err
	}
	h.Fill(m)
	return m, nil
}

// Describe is the line of an entry, still without the hash of a file.
func Describe(e Entry) Line {
	line := Line{Kind: 'd', Mode: e.Info.Mode().Perm(), Sum: "-", Path: e.Path, Link: e.Link}
	switch {
	case e.Link != "":
		line.Kind, line.Mode = 'l', 0o777
	case e.Info.Mode().IsRegular():
		line.Kind, line.Size = 'f', e.Info.Size()
	}
	return line
}

// Hashes reads files on all processors while one walk goes on.
type Hashes struct {
	Naming Naming // what else Add asks of a file
	put    func(hashJob)
	read   []*hashed
}

type hashJob struct {
	entry Entry
	file  *os.File
	to    *hashed
}

type hashed struct {
	line      int
	sum, name string
}

// Walk is the package's Walk, during which Add may be called; it ends when all
// that was added is read.
func (h *Hashes) Walk(ctx context.Context, dir string, o Options, visit func(Entry) error) error {
	return Parallel(ctx, func(ctx context.Context, put func(hashJob)) error {
		h.put = put
		return Walk(ctx, dir, o, visit)
	}, func(ctx context.Context, job hashJob, buffer []byte) (err error) {
		defer func() { _ = job.file.Close() }()
		job.to.sum, job.to.name, err = sums(UntilDone(ctx, job.file), job.entry.Info.Size(), h.Naming, buffer)
		if errors.Is(err, errOtherSize) {
			return changed(job.entry.Path)
		}
		return err
	})
}

// Add has a regular file read, for the line of that number.
func (h *Hashes) Add(e Entry, line int) error {
	file, err := e.Open()
	if err != nil {
		return err
	}
	to := &hashed{line: line}
	h.read = append(h.read, to)
	h.put(hashJob{e, file, to})
	return nil
}

// Fill writes the hashes into the lines that they were read for.
func (h *Hashes) Fill(m Manifest) {
	for _, known := range h.read {
		m[known.line].Sum = known.sum
	}
}

// Names gives the names that Naming asked for, by the number of the line.
func (h *Hashes) Names() map[int]string {
	names := make(map[int]string, len(h.read))
	for _, known := range h.read {
		names[known.line] = known.name
	}
	return names
}

// Sealed gives the read-only permissions that fit a file or folder.
func Sealed(mode fs.FileMode) fs.FileMode {
	if mode.IsDir() || mode&0o111 != 0 {
		return 0o555
	}
	return 0o444
}

// Totals gives the number of files and the sum of their sizes in bytes.
func (m Manifest) Totals() (files, bytes int64) {
	for _, line := range m {
		if line.Kind == 'f' {
			files++
			bytes += line.Size
		}
	}
	return files, bytes
}

// Text is the manifest as it is kept on disk: one line for each entry.
func (m Manifest) Text() []byte {
	text := make([]byte, 0, len(m)*lineBytes)
	for _, l := range m {
		text = append(text, l.Kind, ' ')
		text = append(octal(text, l.Mode.Perm()), ' ')
		text = append(strconv.AppendInt(text, l.Size, 10), ' ')
		text = append(append(text, l.Sum...), ' ')
		text = append(strconv.AppendQuote(text, l.Path), ' ')
		text = append(strconv.AppendQuote(text, l.Link), '\n')
	}
	return text
}

// lineBytes is about what a line takes.
const lineBytes = 192

// octal writes permissions with four digits.
func octal(text []byte, mode fs.FileMode) []byte {
	return append(text, '0', '0'+byte(mode>>6&7), '0'+byte(mode>>3&7), '0'+byte(mode&7))
}

// Digest is the SHA-256 of Text, in hex.
func (m Manifest) Digest() string {
	hash := sha256.Sum256(m.Text())
	return hex.EncodeToString(hash[:])
}

// Parse reads what Text wrote.
func Parse(text []byte) (Manifest, error) {
	var m Manifest
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		line, err := parseLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("parse manifest line %d: %w", len(m)+1, err)
		}
		m = append(m, line)
	}
	return m, lines.Err()
}

func parseLine(text string) (l Line, err error) {
	fields := strings.SplitN(text, " ", 5)
	if len(fields) != 5 || len(fields[0]) != 1 {
		return l, errors.New("it has not 5 fields")
	}
	mode, err := strconv.ParseUint(fields[1], 8, 12)
	if err != nil {
		return l, err
	}
	if l.Size, err = strconv.ParseInt(fields[2], 10, 64); err != nil {
		return l, err
	}
	l.Kind, l.Mode, l.Sum = fields[0][0], fs.FileMode(mode), fields[3]
	rest := fields[4]
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return l, err
	}
	if l.Path, err = strconv.Unquote(quoted); err != nil {
		return l, err
	}
	l.Link, err = strconv.Unquote(strings.TrimPrefix(rest[len(quoted):], " "))
	return l, err
}

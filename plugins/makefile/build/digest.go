package build

import (
	"bufio"
	"context"
	"crypto/md5" //nolint:gosec // the digest that Drush prints
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"hefring/internal/tree"
)

// Digest gives what “drush make --md5” prints for a build: the MD5 of the sorted
// lines that POSIX cksum writes for each file, below the name /__build__.
func Digest(ctx context.Context, dir string, limits tree.Options) (string, error) {
	table := crcTable()
	var lines []string
	err := tree.Walk(ctx, dir, limits, func(e tree.Entry) error {
		if !e.Info.Mode().IsRegular() {
			return nil
		}
		file, err := e.Open()
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		sum, size, err := cksum(file, table)
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%d %d /__build__/%s", sum, size, e.Path))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("sum up the build: %w", err)
	}
	slices.Sort(lines)
	sum := md5.Sum([]byte(strings.Join(lines, "\n"))) //nolint:gosec // as Drush
	return hex.EncodeToString(sum[:]), nil
}

// crcTable is that of the CRC of ISO/IEC 8802-3, most significant bit first, which
// POSIX prescribes for cksum.
func crcTable() *[256]uint32 {
	var table [256]uint32
	for i := range table {
		crc := uint32(i) << 24
		for range 8 {
			if crc&0x80000000 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return &table
}

// cksum is POSIX cksum: the CRC goes over the content and then its length.
func cksum(r io.Reader, table *[256]uint32) (sum uint32, size uint64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		sum = sum<<8 ^ table[byte(sum>>24)^c]
		size++
	}
	for n := size; n > 0; n >>= 8 {
		sum = sum<<8 ^ table[byte(sum>>24)^byte(n)]
	}
	return ^sum, size, nil
}

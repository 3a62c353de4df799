//go:build ignore

// Pack makes common.bin of a list with one password a line:
//
//	go run pack.go < top100000.txt > common.bin
package main

import (
	"bufio"
	"encoding/binary"
	"log"
	"os"
	"slices"
	"strings"

	"hefring/internal/fleet/passwords"
)

func main() {
	var marks []uint32
	for scan := bufio.NewScanner(os.Stdin); scan.Scan(); {
		if word := strings.ToLower(scan.Text()); len(word) >= passwords.ShortestWord {
			marks = append(marks, passwords.Mark(word))
		}
	}
	slices.Sort(marks)
	var packed []byte
	var last uint32
	for _, mark := range slices.Compact(marks) {
		packed = binary.AppendUvarint(packed, uint64(mark-last))
		last = mark
	}
	if _, err := os.Stdout.Write(packed); err != nil {
		log.Fatal(err)
	}
}

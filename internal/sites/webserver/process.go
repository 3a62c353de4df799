package webserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is one line of the machine's process table.
type process struct {
	pid, parent, session int
	uid                  uint32
	title                string // "" for what has ended and was not yet collected
}

// processes reads the process table. What ends meanwhile is left out.
func processes() ([]process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	list := make([]process, 0, len(dirs))
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if p, found := readProcess(pid); found {
			list = append(list, p)
		}
	}
	return list, nil
}

func readProcess(pid int) (process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	info, err := os.Stat(dir)
	if err != nil {
		return process{}, false
	}
	stat, err := os.ReadFile(dir + "/stat") //nolint:gosec // a path made of a number
	if err != nil {
		return process{}, false
	}
	cmdline, err := os.ReadFile(dir + "/cmdline") //nolint:gosec // see above
	if err != nil {
		return process{}, false
	}
	// The program's name stands in brackets and may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest) // state ppid pgrp session …
	owner, known := info.Sys().(*syscall.Stat_t)
	if len(fields) < 4 || !known {
		return process{}, false
	}
	p := process{pid: pid, uid: owner.Uid}
	p.parent, _ = strconv.Atoi(fields[1])
	p.session, _ = strconv.Atoi(fields[3])
	p.title = strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
	return p, true
}

// ownerOf is the uid of a file's owner.
func ownerOf(info os.FileInfo) uint32 {
	if owner, known := info.Sys().(*syscall.Stat_t); known {
		return owner.Uid
	}
	return 0
}

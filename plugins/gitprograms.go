package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"hefring/internal/tree"
)

// gitHardening is git's configuration against what a repository or its server may
// try.
func gitHardening() [][2]string {
	return [][2]string{
		{"protocol.file.allow", "never"},
		{"protocol.version", "2"},
		{"core.hooksPath", "/dev/null"},
		{"core.fsmonitor", "false"},
		{"core.symlinks", "true"},
		{"core.autocrlf", "false"},
		{"core.attributesFile", "/dev/null"},
		{"core.protectNTFS", "true"},
		{"core.protectHFS", "true"},
		{"safe.bareRepository", "explicit"},
		{"transfer.fsckObjects", "true"},
		{"fetch.fsckObjects", "true"},
		// Old and harmless, and common in long histories.
		{"fetch.fsck.zeroPaddedFilemode", "ignore"},
		{"fetch.fsck.badTimezone", "ignore"},
		{"transfer.bundleURI", "false"},
		{"transfer.unpackLimit", "1"},
		{"fetch.unpackLimit", "1"},
		{"fetch.recurseSubmodules", "false"},
		{"submodule.recurse", "false"},
		{"http.followRedirects", "false"},
		{"http.lowSpeedLimit", "500"},
		{"http.lowSpeedTime", "60"},
		{"credential.helper", ""},
		{"gc.auto", "0"},
		{"maintenance.auto", "false"},
	}
}

// GitEnvironment is all that git knows of the machine: it is kept from everything
// but what it is told, and hardened against what a repository or its server may
// try. protocol lists the transports, as GIT_ALLOW_PROTOCOL has them; more is
// further configuration.
func GitEnvironment(protocol string, more ...[2]string) []string {
	env := []string{
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=" + protocol,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_LFS_SKIP_SMUDGE=1", "GIT_PROTOCOL_FROM_USER=0",
	}
	list := append(gitHardening(), more...)
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(list)))
	for i, pair := range list {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, pair[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, pair[1]))
	}
	return env
}

const (
	lfsMagic   = "version https://git-lfs.github.com/spec/"
	lfsLongest = 1024 // bytes of a pointer, by Git LFS's specification
)

// IsLFSPointer tells whether a file only says where Git LFS keeps its content.
func IsLFSPointer(e tree.Entry) (bool, error) {
	if !e.Info.Mode().IsRegular() || e.Info.Size() < int64(len(lfsMagic)) || e.Info.Size() > lfsLongest {
		return false, nil
	}
	file, err := e.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	head := make([]byte, len(lfsMagic))
	if _, err := io.ReadFull(file, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(head, []byte(lfsMagic)), nil
}

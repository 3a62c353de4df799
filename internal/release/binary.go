package release

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"os"
)

// binary is a built program with what Go wrote into it.
type binary struct {
	arch string // Go's name for it, which is Debian's as well
	data []byte
	info *buildinfo.BuildInfo
}

// readBinary reads a program and refuses one that is not fit for others' machines.
func readBinary(path string) (binary, error) {
	data, err := os.ReadFile(path) //nolint:gosec // what is to be released
	if err != nil {
		return binary{}, fmt.Errorf("read binary: %w", err)
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return binary{}, fmt.Errorf("read build information: %w", err)
	}
	b := binary{data: data, info: info, arch: setting(info, "GOARCH")}
	for key, want := range map[string]string{"GOOS": "linux", "CGO_ENABLED": "0", "-trimpath": "true"} {
		if got := setting(info, key); got != want {
			return binary{}, fmt.Errorf("built with %s=%s, wants %s", key, got, want)
		}
	}
	if b.arch != "amd64" && b.arch != "arm64" {
		return binary{}, fmt.Errorf("there is no package for %s", b.arch)
	}
	return b, checkStatic(data)
}

// checkStatic refuses a program that needs a loader or libraries of the machine.
func checkStatic(data []byte) error {
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read program headers: %w", err)
	}
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP || program.Type == elf.PT_DYNAMIC {
			return errors.New("it is linked dynamically")
		}
	}
	return nil
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

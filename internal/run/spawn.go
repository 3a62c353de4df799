package run

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Spawn starts a program that goes on after us, in a session of its own, and
// sends what it prints to the file at logPath. It gives the process id.
func Spawn(logPath, program string, args ...string) (int, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // our own log
	if err != nil {
		return 0, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // it is to go on after us
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", program, err)
	}
	pid := cmd.Process.Pid
	return pid, cmd.Process.Release()
}

package secret

import (
	"errors"
	"fmt"
	"syscall"
)

// ProtectProcess makes this process one whose memory and environment nobody but
// root can read and that leaves no core file, however it dies. The error tells
// what could not be had; what could be is in force. Programs that it starts are
// not covered: execve resets the attribute.
// https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
// https://man7.org/linux/man-pages/man2/getrlimit.2.html
func ProtectProcess() error {
	var dumpable, core error
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0, 0, 0, 0); errno != 0 {
		dumpable = fmt.Errorf("keep others from reading this process's memory: %w", errno)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		core = fmt.Errorf("keep this process from leaving a core file: %w", err)
	}
	return errors.Join(dumpable, core)
}

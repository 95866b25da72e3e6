//go:build !linux

package secret

// ProtectProcess does nothing: the image is for Linux, and elsewhere the
// program is a tool at somebody's desk.
func ProtectProcess() error { return nil }

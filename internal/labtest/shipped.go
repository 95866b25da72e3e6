package labtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Shipped returns a file of the repository. It is looked for in the folder of the
// test and those above it.
func Shipped(name string) (string, error) {
	folder, err := os.Getwd()
	for err == nil {
		text, missing := os.ReadFile(filepath.Join(folder, name))
		if !errors.Is(missing, fs.ErrNotExist) {
			return string(text), missing
		}
		if folder == filepath.Dir(folder) {
			return "", missing
		}
		folder = filepath.Dir(folder)
	}
	return "", err
}

// since16 are the statements of deploy/postgresql.sql that PostgreSQL 15 and
// earlier do without, and before16 those that they have instead.
var (
	since16  = regexp.MustCompile(`(?m)^GRANT`)
	before16 = regexp.MustCompile(`(?m)^-- ((?:ALTER|GRANT) .*;)$`)
)

// RotatorSQL is deploy/postgresql.sql for a server of that major version, with
// these identifiers, which are quoted where that is needed.
func RotatorSQL(major int, rotator, role string) (string, error) {
	text, err := Shipped("deploy/postgresql.sql")
	if err != nil {
		return "", err
	}
	if major < 16 {
		text = before16.ReplaceAllString(since16.ReplaceAllString(text, "-- "), "$1")
	}
	return strings.NewReplacer("rotator", rotator, "alfred_user", role).Replace(text), nil
}

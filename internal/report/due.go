package report

import (
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// due is when the next scheduled `rotate` changes the password: once it is as
// old as `minimum-age` asks; for a check when it is as old as `maximum-age`
// allows. Zero where that is not known.
func (b builder) due() time.Time {
	if !b.OverdueAt.IsZero() {
		return b.OverdueAt
	}
	known := slices.Contains([]rotation.Status{rotation.StatusRotated, rotation.StatusUnchanged, rotation.StatusRolledBack, rotation.StatusPlanned}, b.Status)
	if !known || b.meta.MinimumAge <= 0 || b.RotatedAt.IsZero() {
		return time.Time{}
	}
	return b.RotatedAt.Add(b.meta.MinimumAge)
}

// nextRotation says it to people.
func (b builder) nextRotation() string {
	switch {
	case b.due().IsZero():
		return ""
	case !b.OverdueAt.IsZero() && b.Began.After(b.OverdueAt):
		return "overdue since " + moment(b.OverdueAt) + ", by `maximum-age`"
	case !b.OverdueAt.IsZero():
		return "due by " + moment(b.OverdueAt) + ", by `maximum-age`"
	}
	return "due from " + moment(b.due()) + " on, with the same `minimum-age`"
}

const documents = "https://github.com/pgrotate/pgrotate/blob/main/docs/"

// guide is the document that helps whoever has to act; empty: nobody has to.
func (b builder) guide() string {
	switch emergency := b.mode() == string(rotation.Emergency); {
	case b.ExitCode() == 0 && !emergency, b.Status == rotation.StatusPlanned:
		return ""
	case b.checked() && b.Status != rotation.StatusUnfinished:
		return ""
	case b.checked():
		return documents + "unfinished.md"
	case emergency:
		return documents + "emergency.md"
	case b.ExitCode() == 3:
		return documents + "unfinished.md"
	}
	return ""
}

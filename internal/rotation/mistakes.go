package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// unread is a failure to read what a rotation begins with, together with what
// speaks against it elsewhere.
func (r *run) unread(ctx context.Context, cause error) error {
	if !r.asksOthers(ctx, cause) {
		return cause
	}
	return r.accompany(cause, nil, r.ask(ctx, r.remoteQuestions(secret.Credential{User: r.Role, Password: r.Generate()})))
}

// unlocked is the same where the database could not be asked for the lock. The
// run ends with it: nothing is decided on the answers.
func (r *run) unlocked(ctx context.Context, cause error, served secret.Snapshot) error {
	if !r.asksOthers(ctx, cause) {
		return cause
	}
	r.served, r.fresh = served, r.Generate()
	switch err := r.due(); {
	case isNothing(err):
		return cause
	case err != nil:
		return r.accompany(cause, err, nil)
	}
	return r.accompany(cause, r.Undiscovered, r.ask(ctx, r.placeQuestions()))
}

// asksOthers tells whether the other targets are asked although the run ends with cause:
// a user with several mistakes hears of all at once.
func (r *run) asksOthers(ctx context.Context, cause error) bool {
	class := ClassOf(cause)
	begins := r.command == rotate && !r.unfinished() && r.claimed == 0 && r.because == nil
	return begins && class != Lost && class != Conflict && ctx.Err() == nil
}

// accompany adds to a failure what else speaks against a rotation.
func (r *run) accompany(cause, more error, lines []Line) error {
	_, err := told(lines)
	others := apart(cause, more, err)[len(apart(cause)):]
	if len(others) == 0 {
		return cause
	}
	return &accompanied{cause, errors.Join(others...)}
}

// accompanied is a failure that decides, and others that are told beside it.
type accompanied struct{ cause, more error }

func (a *accompanied) Error() string   { return errors.Join(a.cause, a.more).Error() }
func (a *accompanied) Class() string   { return string(ClassOf(a.cause)) }
func (a *accompanied) Unwrap() []error { return []error{a.cause, a.more} }

// apart returns the errors that joined ones were made of, but for those that say
// what one before them has said: who cannot be reached is asked more than once.
func apart(errs ...error) (all []error) {
	var texts []string
	for _, err := range errs {
		for _, part := range parts(err) {
			if text := part.Error(); !slices.Contains(texts, text) {
				all, texts = append(all, part), append(texts, text)
			}
		}
	}
	return all
}

// parts takes apart what errors.Join has joined, and nothing else.
func parts(err error) (all []error) {
	many, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok || fmt.Sprint(errors.Join(many.Unwrap()...)) != err.Error(): // one that is a sentence of its own
		return []error{err}
	}
	for _, inner := range many.Unwrap() {
		all = append(all, parts(inner)...)
	}
	return all
}

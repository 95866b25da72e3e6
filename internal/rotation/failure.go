package rotation

// Class says what kind of failure an error is; it decides what the run does.
// Targets report it by a method `Class() string` on their error type.
type Class string

const (
	// Unavailable is every failure whose outcome is not known: transport, 5xx,
	// 429 after bounded retries, a timeout. The journal stays open.
	Unavailable Class = "unavailable"
	// Refused is a definite no that changed nothing: 403, 422, SQLSTATE 42501.
	Refused Class = "refused"
	// Unhealthy is a bad verdict on what was changed: a rollout that does not
	// come up, a health command that says no, a login that is refused.
	Unhealthy Class = "unhealthy"
	// Conflict means that somebody else owns the object: stop, undo nothing.
	Conflict Class = "conflict"
	// Lost means that the session that held the lock is gone.
	Lost Class = "lost"
	// Busy means that somebody else holds the lock.
	Busy Class = "busy"
	// Missing means that an object that pgrotate never creates is not there.
	Missing Class = "missing"
)

// gravest lists the classes from the one that decides over all others.
var gravest = [...]Class{Conflict, Lost, Busy, Unhealthy, Refused, Missing, Unavailable}

// ClassOf returns the class of err that decides when it holds several.
func ClassOf(err error) Class {
	found := map[Class]bool{}
	collect(err, found)
	for _, class := range gravest {
		if found[class] {
			return class
		}
	}
	return Unavailable
}

func collect(err error, found map[Class]bool) {
	if c, ok := err.(interface{ Class() string }); ok {
		found[Class(c.Class())] = true
		return
	}
	for _, inner := range unwrap(err) {
		collect(inner, found)
	}
}

func unwrap(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	case interface{ Unwrap() error }:
		return []error{e.Unwrap()}
	}
	return nil
}

// Hints returns the remedies that err and the errors inside it know, in order.
func Hints(err error) []string {
	var hints []string
	if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" {
		hints = append(hints, h.Hint())
	}
	for _, inner := range unwrap(err) {
		hints = append(hints, Hints(inner)...)
	}
	return hints
}

// failure is an error of the machine itself.
type failure struct {
	class Class
	text  string
	hint  string
}

func (f *failure) Error() string { return f.text }
func (f *failure) Class() string { return string(f.class) }
func (f *failure) Hint() string  { return f.hint }

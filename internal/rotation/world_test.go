package rotation_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	role    = "alfred_user"
	twin    = "alfred_user_alt"
	birth   = "OldPassword"
	inPod   = "deployment/core"
	inPod2  = "deployment/ingest"
	cluster = "Secret other/copy"
	remote  = "GitHub secret acme/shop PASSWORD"
)

// world is everything that a rotation touches, in memory, with the semantics
// of the real things. After every call it checks what must always hold.
type world struct {
	mu sync.Mutex

	// The database: one login role or two, and the advisory lock that lives in a
	// session.
	login
	twin     *login         // nil: it does not exist
	visitors map[string]int // sessions by role, beside those of the pods
	// intruder is a session of whoever knows the password: when an emergency
	// changes it, it sets one of its own.
	intruder bool
	// foreign is the password that somebody has set in the database alone; what is
	// stored need not open the door until a run has repaired that.
	foreign string
	locks   map[string]*process   // advisory locks, by the role they are about
	queues  map[string][]*process // who waits for them, in order
	freed   chan struct{}         // closed when the lock is given back
	salts   int
	changed time.Time     // when the password was last
	replay  time.Duration // how far a standby is behind; 0: not at all
	clients []session
	ticks   int // of the stores' clocks: no two writes at the same time

	// The cluster.
	served   *servedSecret // nil: it does not exist
	journal  secret.Document
	versions int // resourceVersions and uids given out
	sets     map[string]*podSet
	writes   int // of anything anywhere
	checked  int // of them

	origins map[string]secret.Origin // of addresses
	refused []secret.Refused
	proofs  func(workload string, pod int) secret.Proof
	renewed map[string]int // how often a pod was replaced because it was refuted

	// The other places.
	copies map[string]copied

	sick      func(workload, mark string) bool // whose pods come up wrong
	policy    rotation.Policy
	processes int
	passwords int
	ids       int
	script    map[string]fault // what happens at which call
	hooks     map[string]func(*process)
	down      func(what string) bool // what does not answer
	system    string
	lockdb    string
	rollout   time.Duration       // how long a restart takes
	alternate bool                // the runs' strategy; else in-place
	alone     string              // the workload that is listed and never restarted
	unnamed   map[string][]string // containers of a workload that take the password alone
	latency   time.Duration       // how long every call takes
	stopped   time.Time           // when a run was told to stop
	calls     []string
	late      []func() // requests that are still under way
	highest   [2]int64 // epochs seen in the journal and in the served Secret
	broken    []string // invariants that did not hold
}

// login is a role.
type login struct {
	accepts string // the stored verifier; empty: it has none
	nologin bool
	had     []string // every password that was ever set
	burnt   []string // those that an emergency has shut out
}

type servedSecret struct {
	uid, version string
	created      time.Time
	keys         map[string]string
	stamp        secret.Stamp
}

type podSet struct {
	mark string // of the template
	pods []pod
}

type pod struct {
	mark, user, password string
	created              time.Time
}

type copied struct {
	user, password string
	at             time.Time
}

func newWorld() *world {
	w := &world{
		renewed: map[string]int{},
		freed:   make(chan struct{}),
		locks:   map[string]*process{}, queues: map[string][]*process{}, visitors: map[string]int{},
		sets:   map[string]*podSet{},
		copies: map[string]copied{},
		sick:   func(string, string) bool { return false },
		proofs: func(string, int) secret.Proof { return secret.Proof{Reason: "no health command is given"} },
		script: map[string]fault{}, hooks: map[string]func(*process){},
		down:   func(string) bool { return false },
		system: "7000000000000000001", lockdb: "postgres",
		policy: rotation.Policy{GoBack: true, KeepPrevious: 24 * time.Hour, LockTimeout: time.Minute,
			Timeout: 30 * time.Minute, RolloutTimeout: 10 * time.Minute},
	}
	w.accepts, w.had = w.verifier(birth), []string{birth}
	w.createSecret(birth)
	for _, name := range []string{inPod, inPod2} {
		w.sets[name] = &podSet{pods: []pod{{user: role, password: birth, created: time.Now()}, {user: role, password: birth, created: time.Now()}}}
	}
	for _, name := range []string{cluster, remote} {
		w.copies[name] = copied{user: role, password: birth, at: w.tick()}
	}
	return w
}

func (w *world) createSecret(password string) {
	w.served = &servedSecret{uid: w.version(), version: w.version(), created: time.Now(), keys: map[string]string{
		"username": role, "password": password, "url": "postgres://" + role + ":" + password + "@db:5432/app?x=1", "other": "stays"}}
}

func (w *world) version() string {
	w.versions++
	return strconv.Itoa(w.versions)
}

func (w *world) tick() time.Time {
	w.ticks++
	return time.Now().Add(time.Duration(w.ticks) * time.Second)
}

// verifier is bound to the password and to a salt of its own.
func (w *world) verifier(password string) string {
	w.salts++
	return salted(strconv.Itoa(w.salts), password)
}

func salted(salt, password string) string {
	hash := fnv.New64a()
	_, _ = io.WriteString(hash, salt+password)
	return "SCRAM$" + salt + "$" + strconv.FormatUint(hash.Sum64(), 16)
}

// opens tells whether the database accepts the password of the served role,
// NOLOGIN or not.
func (w *world) opens(password string) bool {
	if w.served != nil && w.served.keys["username"] == twin && w.twin != nil {
		return w.twin.opens(password)
	}
	return w.login.opens(password)
}

func (l *login) opens(password string) bool {
	parts := strings.Split(l.accepts, "$")
	return len(parts) == 3 && l.accepts == salted(parts[1], password)
}

// role returns what the database has of a name; nil: nothing.
func (w *world) role(name string) *login {
	switch name {
	case role:
		return &w.login
	case twin:
		return w.twin
	}
	return nil
}

// letsIn tells whether a pod that was given the credential can log in.
func (w *world) letsIn(user, password string) bool {
	l := w.role(user)
	return l != nil && !l.nologin && l.opens(password)
}

// sessions are those of the pods, which log in when they start, and others.
func (w *world) sessions(name string) int {
	n := w.visitors[name]
	for _, set := range w.sets {
		for _, p := range set.pods {
			if p.user == name {
				n++
			}
		}
	}
	return n
}

// first queues a process for a lock, and tells whether it is its turn.
func (w *world) first(base string, p *process) bool {
	if !slices.Contains(w.queues[base], p) {
		w.queues[base] = append(w.queues[base], p)
	}
	return w.queues[base][0] == p
}

// leave ends its waiting.
func (w *world) leave(base string, p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queues[base] = slices.DeleteFunc(w.queues[base], func(other *process) bool { return other == p })
	w.wake()
}

// wake has all who wait look again.
func (w *world) wake() {
	close(w.freed)
	w.freed = make(chan struct{})
}

func (w *world) free(p *process) {
	p.session = false
	maps.DeleteFunc(w.locks, func(_ string, holder *process) bool { return holder == p })
	w.wake()
}

// check looks at the invariants: I1 what the database accepts is stored, I2 if
// the served password does not log in the journal says so, and what was never
// to be touched is as it was.
func (w *world) check(after string) {
	if w.writes == w.checked {
		return
	}
	w.checked = w.writes
	bad := func(format string, args ...any) {
		w.broken = append(w.broken, fmt.Sprintf("after %s: ", after)+fmt.Sprintf(format, args...))
	}
	known := w.journaled()
	user := role
	if w.served != nil {
		user = w.served.keys["username"]
		known = append(known, w.served.keys["password"])
		if w.phase() == "idle" && !w.opens(w.served.keys["password"]) && !w.drifted() {
			bad("I2 the served password does not log in and no journal is open")
		}
		if w.served.keys["other"] != "stays" {
			bad("another key of the served Secret was changed")
		}
		if w.served.stamp.Epoch < w.highest[1] {
			bad("the epoch of the served Secret went down")
		}
		w.highest[1] = w.served.stamp.Epoch
	}
	if l := w.role(user); l != nil && !l.nologin && !slices.ContainsFunc(known, l.opens) && !w.drifted() {
		bad("I1 the password that the database accepts is stored nowhere")
	}
	for _, name := range []string{role, twin} {
		if l := w.role(name); l != nil && !l.nologin && slices.ContainsFunc(l.burnt, l.opens) {
			bad("I3 a compromised password of %q opens the door again", name)
		}
	}
	w.checkAlternate(bad)
	if w.journal.Annotations["pgrotate.io/mode"] == "emergency" && !w.journal.Data["previous"].IsZero() {
		bad("I3 the journal of an emergency holds a previous password")
	}
	epoch, _ := strconv.ParseInt(w.journal.Annotations["pgrotate.io/epoch"], 10, 64)
	if epoch < w.highest[0] {
		bad("the epoch of the journal went down")
	}
	w.highest[0] = epoch
}

// checkAlternate looks at what holds where roles alternate and nobody has to be
// shut out: the served credential logs in at every instant (I2), so does every
// one that a pod was given (I6), and a role that opens its door beside the served
// one is going to be closed (I7).
func (w *world) checkAlternate(bad func(string, ...any)) {
	record := w.journal.Annotations["pgrotate.io/record"]
	switching := strings.Contains(record, `"strategy":"alternate"`) || w.phase() == "idle"
	if !w.alternate || w.foreign != "" || !switching || w.served == nil || len(w.burnt) > 0 || w.twin != nil && len(w.twin.burnt) > 0 {
		return
	}
	user := w.served.keys["username"]
	if !w.letsIn(user, w.served.keys["password"]) {
		bad("I2 the served credential does not log in")
	}
	for name, set := range w.sets {
		for _, p := range set.pods {
			if !w.letsIn(p.user, p.password) {
				bad("I6 a pod of %q has a credential that does not log in", name)
			}
		}
	}
	other := map[string]string{role: twin, twin: role}[user]
	if l := w.role(other); w.phase() == "idle" && l != nil && !l.nologin && l.accepts != "" && !strings.Contains(record, `"former":"`+other+`"`) {
		bad("I7 role %q opens its door, and nobody is going to retire it", other)
	}
}

// drift lets somebody change the served role's password in the database alone.
func (w *world) drift() {
	w.foreign = "ByHand"
	l := w.role(w.served.keys["username"])
	l.accepts = w.verifier(w.foreign)
}

// drifted tells whether that has not been repaired yet.
func (w *world) drifted() bool { return w.foreign != "" && w.opens(w.foreign) }

func (w *world) phase() string {
	if phase := w.journal.Annotations["pgrotate.io/phase"]; phase != "" {
		return phase
	}
	return "idle"
}

// journaled returns the passwords in the journal, by its documented form.
func (w *world) journaled() []string {
	var known []string
	type credential struct{ Password string }
	for _, key := range []string{"pending", "previous"} {
		var c credential
		if json.Unmarshal([]byte(w.journal.Data[key].Reveal()), &c) == nil {
			known = append(known, c.Password)
		}
	}
	var superseded []credential
	_ = json.Unmarshal([]byte(w.journal.Data["superseded"].Reveal()), &superseded)
	for _, c := range superseded {
		known = append(known, c.Password)
	}
	return known
}

// unsettled names what differs where everything should agree (I4).
func (w *world) unsettled() []string {
	var bad []string
	if w.phase() != "idle" || !w.journal.Data["pending"].IsZero() || !w.journal.Data["superseded"].IsZero() {
		bad = append(bad, "the journal is "+w.phase())
	}
	user, password := w.served.keys["username"], w.served.keys["password"]
	if l := w.role(user); l == nil || l.nologin {
		bad = append(bad, "the role is left closed")
	}
	if !w.opens(password) {
		bad = append(bad, "the served password does not log in")
	}
	if !strings.Contains(w.served.keys["url"], "//"+user+":"+password+"@") {
		bad = append(bad, "the served url has another password")
	}
	for _, name := range slices.Sorted(maps.Keys(w.copies)) {
		if w.copies[name].password != password || w.copies[name].user != user {
			bad = append(bad, name+" differs")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.sets)) {
		for _, p := range w.sets[name].pods {
			if p.password != password || p.user != user {
				bad = append(bad, "a pod of "+name+" has another password")
			}
		}
	}
	return bad
}

func (w *world) markOf(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sets[name].mark
}

// restart lets the pods come up anew: they read what is served now.
func (w *world) restart(name, mark string) {
	set := w.sets[name]
	set.mark = mark
	for i := range set.pods {
		if set.pods[i].mark != mark {
			set.pods[i] = pod{mark, w.served.keys["username"], w.served.keys["password"], time.Now()}
			w.writes++
		}
	}
}

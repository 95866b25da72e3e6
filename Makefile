.PHONY: demo test test-alone test-here act versions bench scale crash faults mutants model fuzz lab lab-down lab-status

# Where `make lab` writes what the tests need to know.
LAB := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pgrotate-lab/lab.json

# As the Dockerfile builds the program, and the lab Kubernetes: what they share is compiled once.
LEAN := -trimpath -gcflags=all=-dwarf=false
RUN := CGO_ENABLED=0 go run $(LEAN) .

# A real rotation, shown from before to after. KEEP=1 leaves the lab running.
demo:
	@cd lab && $(RUN) up && $(RUN) demo; code=$$?; \
	test -n "$(KEEP)" || $(RUN) down; exit $$code

# All tests: those that need no server, then those against real ones. A lab that
# runs already goes on running.
test: test-alone
	@was=$$(test -e $(LAB) && echo up); \
	$(MAKE) --no-print-directory lab && $(MAKE) --no-print-directory test-here; code=$$?; \
	if test -n "$$was$(KEEP)"; then $(MAKE) --no-print-directory lab; else $(MAKE) --no-print-directory lab-down; fi; exit $$code

# The tests that need no server, and a sample of the mistakes that they notice. The
# model and the pairs of faults are arithmetic, which the race detector makes long.
test-alone:
	PGROTATE_LAB= go test -race -shuffle=on -timeout 30m $$(go list ./... | grep -v /model$$)
	go test -shuffle=on -timeout 30m ./internal/rotation/model -args -explore=usual
	go test -count=1 -v -timeout 30m -run EveryFault ./internal/rotation -args -pairs=basic
	go test -count=1 -v -timeout 30m ./internal/rotation/mutants -args -every=80

# The tests against real servers, with a lab that runs: those of the platform first,
# the others while it rests. One package after the other: pods that get no processor
# time are not healthy.
test-here: export PGROTATE_LAB = $(LAB)
test-here:
	cd lab && $(RUN) up
	cd lab && CGO_ENABLED=0 go test $(LEAN) -shuffle=on -p 1 . ./byhand ./platform
	cd lab && CGO_ENABLED=0 go test $(LEAN) -count=1 -v ./rehearsal
	cd lab && $(RUN) rest
	go test -race -shuffle=on -p 1 -parallel 3 -timeout 45m $$(go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | sed -n 's,^\([^ ]*\) .*/internal/labtest.*,\1,p')
	cd lab && CGO_ENABLED=0 go test $(LEAN) -shuffle=on -p 1 -skip '^TestVersions$$' $$(go list ./... | grep -v -e '/lab$$' -e /byhand -e /platform -e /rehearsal -e /crash -e /leak -e /scale -e '/act$$')
	cd lab && CGO_ENABLED=0 go test $(LEAN) -count=1 -v -p 1 -parallel 4 -timeout 60m ./scale ./leak ./crash

# How soon the program is at work, and what a rotation costs, by hand and by pgrotate, on the same platform.
bench: export PGROTATE_LAB = $(LAB)
bench: lab
	CGO_ENABLED=0 go test $(LEAN) -run '^$$' -bench ColdStart -benchtime 30x .
	cd lab && CGO_ENABLED=0 go test $(LEAN) -run '^$$' -bench . -benchtime 1x ./bench

# What a rotation costs with up to 1,000 workloads, 100 GitHub secrets and 50 copies, and far from its
# servers; a profile of the largest. An hour or two, most of it for the largest; PGROTATE_SIZES="1 10" leaves
# the large ones out.
scale: export PGROTATE_LAB = $(LAB)
scale: lab
	cd lab && $(RUN) rest
	cd lab && CGO_ENABLED=0 go test $(LEAN) -run '^$$' -bench . -benchtime 1x -timeout 8h ./scale
	cd lab && $(RUN) up

# The workflows of README and .github/workflows as GitHub would run them, with the
# real Dockerfile, and how soon its container is at work. The first time it makes images for some minutes.
act: export PGROTATE_LAB = $(LAB)
act: lab
	cd lab && $(RUN) rest
	cd lab && CGO_ENABLED=0 go test $(LEAN) -count=1 -v -timeout 90m -bench ColdStart -benchtime 20x ./act
	cd lab && $(RUN) up

# The tests of internal/postgres on the versions of PostgreSQL that the lab does not run. It needs npm and the
# lab's Debian packages, not the lab.
versions:
	cd lab && CGO_ENABLED=0 go test $(LEAN) -count=1 -v -timeout 2h ./versions

# Nothing is lost, in every case: kills and cuts at every request and byte,
# outages, races, stopped processes, leaks; or only the tests that PROOF names.
# Hours; `make test` has a part of it.
PROOF ?= .
crash: export PGROTATE_LAB = $(LAB)
crash: export PGROTATE_CRASH = whole
crash: lab
	cd lab && $(RUN) rest
	cd lab && CGO_ENABLED=0 go test $(LEAN) -count=1 -v -p 1 -parallel 2 -timeout 12h -run '$(PROOF)' ./leak ./crash
	cd lab && $(RUN) up

# Every pair of faults of all kinds at any two calls; `make test` tries every pair of crashes and failures and a sample of the others, `go test ./...` a small sample.
faults:
	go test -count=1 -v -timeout 2h -run EveryFault ./internal/rotation -args -pairs=all

# Every mistake of internal/rotation/mutants/list.txt, and the test that notices it.
mutants:
	go test -count=1 -v -timeout 2h ./internal/rotation/mutants -args -every=1

# Everything that the model of the state machine explores, three runs that meet included. Minutes, and gigabytes.
model:
	go test -count=1 -v -timeout 3h ./internal/rotation/model -args -explore=full

# Every fuzz target for this long. Their seeds are part of `make test`.
FUZZTIME ?= 10s
fuzz: export PGROTATE_LAB ?= $(wildcard $(LAB))
fuzz:
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z]*' internal | sort | while IFS=: read -r file target; do \
		echo "== $${target#func } in $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
	done

# The lab: PostgreSQL, a Kubernetes node and GitHub's API on this machine, see lab/README.md.
lab:
	@cd lab && $(RUN) up

lab-down:
	@cd lab && $(RUN) down

lab-status:
	@cd lab && $(RUN) status

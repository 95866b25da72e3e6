.PHONY: demo test test-here faults mutants fuzz lab lab-down lab-status

# Where `make lab` writes what the tests need to know.
LAB := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pgrotate-lab/lab.json

# A real rotation, shown from before to after. KEEP=1 leaves the lab running.
demo:
	@cd lab && go run . up && go run . demo; code=$$?; \
	test -n "$(KEEP)" || go run . down; exit $$code

# All tests, against real servers. A lab that runs already goes on running.
test:
	@was=$$(test -e $(LAB) && echo up); \
	$(MAKE) --no-print-directory lab && $(MAKE) --no-print-directory test-here; code=$$?; \
	test -n "$$was$(KEEP)" || $(MAKE) --no-print-directory lab-down; exit $$code

# All tests, with a lab that runs.
test-here: export PGROTATE_LAB = $(LAB)
test-here:
	go test -race -shuffle=on -timeout 30m ./...
	go test -count=1 -v -timeout 30m ./internal/rotation/mutants -args -every=25
	cd lab && go test -race -shuffle=on $$(go list ./... | grep -v -e /rehearsal -e /crash -e /leak)
	cd lab && go test -race -count=1 -v ./rehearsal
	cd lab && go test -count=1 -v -timeout 30m ./leak ./crash

# Nothing is lost, in every case: kills and cuts at every request and byte,
# outages, races, stopped processes, leaks. Hours; `make test` has a part of it.
crash: export PGROTATE_LAB = $(LAB)
crash: export PGROTATE_CRASH = whole
crash: lab
	cd lab && go test -count=1 -v -timeout 12h ./leak ./crash

# Every pair of crashes and failures at any two calls; `make test` tries a sample of all pairs.
faults:
	go test -count=1 -v -timeout 1h -run EveryFault ./internal/rotation -args -pairs=basic

# Every mistake of internal/rotation/mutants/list.txt, and the test that notices it.
mutants:
	go test -count=1 -v -timeout 2h ./internal/rotation/mutants -args -every=1

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
	@cd lab && go run . up

lab-down:
	@cd lab && go run . down

lab-status:
	@cd lab && go run . status

.PHONY: lab lab-down lab-status

# The lab: PostgreSQL, a Kubernetes node and GitHub's API on this machine, see lab/README.md.
lab:
	cd lab && go run . up

lab-down:
	cd lab && go run . down

lab-status:
	cd lab && go run . status

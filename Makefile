# What a person does with this tree. Each target is one script, so that the same thing can be done without make.
# CARGO_TARGET_DIR and TIDEGATE_CACHE (default: ~/.cache/tidegate) move what is built and fetched.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/tidegate/target
.DEFAULT_GOAL := run
.PHONY: run test conformance soak bench lint services cluster clean

run: ## why: from a fresh clone to a serving gateway in one word; ARGS go to `tidegate serve`
	@scripts/run $(ARGS)

test: ## why: the proof that a change is good: lint, every test, both SDKs, a real engine, the commands of the docs
	@scripts/test

conformance: ## why: every SDK generation that is out there, not only the newest
	@scripts/conformance

soak: ## why: the full lengths: 50 kills, ten minutes without a database, every fault, an hour of each property; ARGS select parts
	@scripts/soak $(ARGS)

bench: ## why: speed is a promise, so it is measured against what a user would pick instead; ARGS select parts
	@scripts/bench $(ARGS)

lint: ## why: the rules that a program can check are not left to memory
	@scripts/lint

services: ## why: PostgreSQL for the tests, started by hand when you run `cargo test` yourself
	@scripts/services start

cluster: ## why: what holds for one gateway must hold for three; CLUSTER_PORTS moves them
	@scripts/cluster

clean: ## why: gives back the disk; what was fetched and the built engine stay (remove ~/.cache/tidegate for those)
	@cargo clean

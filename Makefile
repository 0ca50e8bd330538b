# voxgate: everything a person or a machine runs, by name. `make help` lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: run
run: ## Install what is missing, build the release binary, start everything in one process
	@scripts/install run
	cargo build --release --locked -p voxgate-gateway
	target/release/voxgate standalone $(ARGS)

.PHONY: test
test: ## Everything the project promises: format, lints, unit, simulation, corpora, SDKs, browser
	@scripts/install compile
	@scripts/test

.PHONY: bench
bench: ## Measure the gateway's own time and keep the record in load-tests/runs/
	@scripts/install test
	@scripts/bench

.PHONY: bench-conversation
bench-conversation: ## Measure interruption, truncation and first audio as a caller hears them; keep the record in load-tests/runs/
	@scripts/install test
	@scripts/bench-conversation $(ARGS)

.PHONY: bench-relay
bench-relay: ## Measure the relay beside a raw forwarder, coturn and turn-rs; keep the record in load-tests/runs/
	@scripts/bench-relay $(ARGS)

.PHONY: bench-events
bench-events: ## Measure the cost of an audio event beside SMG and LiteLLM; keep the record in load-tests/runs/
	@scripts/install test
	@scripts/bench-events $(ARGS)

.PHONY: bench-measuring
bench-measuring: ## Measure what it costs to measure a call, with and without in one run; keep the record in load-tests/runs/
	@scripts/install test
	@scripts/bench-measuring $(ARGS)

.PHONY: bench-policy
bench-policy: ## Measure the time of a decision by the number of policies, and of metering an event
	cargo run --release --locked --quiet -p voxgate-policy --example decision_time
	cargo run --release --locked --quiet -p voxgate-policy --example metering_cost

.PHONY: faults
faults: ## Kill, silence and move relays and callers mid-call, and keep the record (needs root)
	@scripts/install test
	@scripts/faults $(ARGS)

.PHONY: fuzz
fuzz: ## Fuzz every parser of outside bytes for a minute each (needs nightly and cargo-fuzz)
	@scripts/fuzz

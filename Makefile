# What people and CI run. `make help` lists it.

CARGO ?= cargo
GO ?= $(shell command -v go || echo /usr/local/go/bin/go)
FUZZ_SECONDS ?= 10
# The node that everything but the Rust tests talks to.
WITH_NODE := FANFARE_BIN="$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/fanfare"
SEEDS ?= 50
FIRST ?= 1
FUZZ_TARGETS := answer assembly client_frame envelope position topic

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: run
run: ## One node for development: no Redis, no configuration
	$(CARGO) run --locked --bin fanfare -- serve --dev

.PHONY: demo
demo: ## Five live applications in a page, with a node, a Redis and a backend; Ctrl-C ends all
	$(CARGO) build --locked --bin fanfare
	$(WITH_NODE) scripts/demo

.PHONY: test
test: tools format lint deny build ## Everything, after installing what is missing
	@# These wait for something most of the time, so they do it side by side. Those after them need the machine for themselves.
	$(MAKE) --jobs=3 --output-sync=target unit-1 unit-2 python node docs helm alerts
	$(MAKE) instructions typescript image loom fuzz
	@echo "everything passed"

.PHONY: tools
tools: ## What the tests need beside Rust: servers, browser, containers, Python and Node with their package managers, Go, cargo-deny, cargo-fuzz
	scripts/install-tools

.PHONY: format
format: ## Is the code formatted?
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check

.PHONY: lint
lint: ## Clippy, warnings denied
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: deny
deny: ## Licences, advisories, sources and duplicates of dependencies
	@# All platforms' dependencies are judged, also those that this one never builds.
	$(CARGO) fetch --locked
	$(CARGO) deny --offline check licenses bans sources

.PHONY: build
build: ## The node and all tests of Rust
	$(CARGO) test --workspace --locked --no-run

.PHONY: unit
unit: unit-1 unit-2 ## Unit, property and integration tests of Rust, against a real redis-server

# In two halves that take about as long, side by side where all is tested.
.PHONY: unit-1 unit-2
unit-1: build
	$(CARGO) test --workspace --locked --test '[a-c]*' -- --test-threads=4
unit-2: build
	$(CARGO) test --workspace --locked --lib --bins --test '[d-z]*' -- --test-threads=4
	$(CARGO) test --workspace --locked --doc

.PHONY: clients
clients: python node typescript ## The libraries in other languages and their examples, against a real node, a real Redis and a real browser

.PHONY: python
python: build ## The library for backends in Python
	clients/python/check

.PHONY: node
node: build ## The library for backends in TypeScript
	$(WITH_NODE) clients/node/check

.PHONY: typescript
typescript: build ## The library for pages
	$(WITH_NODE) clients/typescript/check

.PHONY: docs
docs: build ## The commands of the documentation, as a reader would type them, against a real node and a real Redis
	$(WITH_NODE) scripts/test-docs

.PHONY: alerts
alerts: ## The alerts, the dashboard and Prometheus' configuration, by promtool and against docs/metrics.md
	scripts/test-alerts

.PHONY: image
image: build ## The image and docker-compose.yml with real containers, while nodes and Redis die, and one more node comes; as root
	$(WITH_NODE) deploy/test/compose

.PHONY: helm
helm: build ## The chart: linted, rendered in many ways, held against the types of Kubernetes and the node itself
	@unformatted="$$("$$($(GO) env GOROOT)/bin/gofmt" -l helm/tests)"; test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	@# What Helm reads isn't known to Go's cache of results.
	$(WITH_NODE) $(GO) -C helm/tests test -count=1 ./...

.PHONY: loom
loom: ## The outbox under every interleaving of its threads
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom $(CARGO) test -p fanfare-core --release --locked --test loom_outbox

.PHONY: fuzz
fuzz: ## Each decoder for FUZZ_SECONDS from its committed corpus, two at a time
	printf '%s\n' $(FUZZ_TARGETS) | xargs --max-procs=2 --replace scripts/fuzz {} $(FUZZ_SECONDS)

.PHONY: chaos
chaos: ## The promise under faults: SEEDS worlds from seed FIRST on, a line for each; SEED=n runs one
	SEEDS=$(SEEDS) FIRST=$(FIRST) SEED=$(SEED) \
		$(CARGO) test -p fanfare-gateway --locked --test promise the_promise_holds_whatever_fails -- --nocapture

.PHONY: upgrade
upgrade: ## Nodes of the commit BASE (the one before) replaced by this one's and back, under traffic
	BASE="$(BASE)" scripts/upgrade

.PHONY: instructions
instructions: ## Instructions that encoding, decoding and fan-out take, against crates/instructions.json; UPDATE=1 writes that down
	CARGO="$(CARGO)" scripts/check-instructions $(if $(UPDATE),--update)

.PHONY: bench
bench: ## The load generator's scenarios, with the figures of one machine in loadtest/RESULTS.md
	$(CARGO) build --release --locked --bin fanfare --bin fanfare-loadtest
	target/release/fanfare-loadtest fanout --mode paced --spawn --compare
	target/release/fanfare-loadtest fanout --mode stream --spawn --compare
	target/release/fanfare-loadtest fanout --mode burst --spawn --compare
	target/release/fanfare-loadtest fanout --mode stream --clients 500 --slow 50 --bytes 4096 --rate 300 --spawn
	target/release/fanfare-loadtest idle --spawn
	target/release/fanfare-loadtest storm --spawn
	target/release/fanfare-loadtest storm --spawn --own-channels --connect-concurrency 4000
	target/release/fanfare-loadtest churn --spawn
	target/release/fanfare-loadtest unheard --spawn --compare=fanfare,floor
	target/release/fanfare-loadtest growth --spawn --floors --plots target/plots
	target/release/fanfare-loadtest channels --spawn --paced --compare
	target/release/fanfare-loadtest publish --spawn
	target/release/fanfare-loadtest recover --spawn
	target/release/fanfare-loadtest recover --spawn --nodes 2
	target/release/fanfare-loadtest recover --spawn --nodes 2 --topics 10000
	target/release/fanfare-loadtest rolling-restart --spawn
	target/release/fanfare-loadtest rolling-restart --spawn --clients 6000 --topics 6000 --topics-each 5
	target/release/fanfare-loadtest scale-out --spawn --clients 6000 --topics 6000 --topics-each 5
	target/release/fanfare-loadtest redis-restart --spawn

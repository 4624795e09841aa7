# The commands of Castoff. `make` lists them. What each one does in detail is in scripts/, one subject a file.

.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster test test-cluster cluster cluster-down image faults fuzz lint docs-check advisories bench bench-cluster models

CARGO := cargo
# All our packages, and of others only what Cargo.lock says.
ALL := --workspace --locked

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## start Castoff with a model on it, call it, and show how (ONCE=1: stop by itself)
	@scripts/prerequisites demo
	@ONCE=$(ONCE) scripts/demo

demo-cluster: ## the same on a Kubernetes cluster of this machine, as root, by the chart (ONCE=1: stop by itself)
	@scripts/prerequisites demo
	@scripts/prerequisites cluster
	@ONCE=$(ONCE) scripts/demo-cluster

test: ## everything: unit and documentation tests, acceptance tests on real processes and a cluster, third-party clients
	@scripts/prerequisites test
	@echo "== ONNX Runtime's library" && scripts/onnxruntime >/dev/null
	@echo "== third-party clients, for the acceptance tests" && tests/clients/run --prepare
	@echo "== an object store, for the acceptance tests" && tests/objects/build >/dev/null
	@echo "== a pooler before PostgreSQL, for the acceptance tests"
	@tests/pooler/build >/dev/null || echo "it cannot be built here: what needs one is skipped, and in CI it fails"
	@echo "== build the programs and their tests (minutes, the first time)"
	@$(CARGO) build $(ALL) --bins --tests
	@echo "== the release before this one, for the tests of upgrades (two minutes, the first time)"
	@scripts/previous >/dev/null || echo "it cannot be built here: what needs two releases is skipped, and in CI it fails"
	@echo "== test (acceptance starts castoff, nodes and a PostgreSQL, all on loopback, and a Kubernetes cluster beside it)"
	@CASTOFF_ONNXRUNTIME=$$(scripts/onnxruntime 2>/dev/null) tests/cluster/with $(CARGO) test $(ALL) --no-fail-fast

test-cluster: ## what runs on Kubernetes alone; with KUBECONFIG on your cluster (tests/cluster/with says what else to set)
	@scripts/prerequisites test
	@scripts/onnxruntime >/dev/null
	@tests/objects/build >/dev/null
	@$(CARGO) build $(ALL) --bins --tests
	@scripts/previous >/dev/null || echo "it cannot be built here: what needs two releases is skipped, and in CI it fails"
	@CASTOFF_ONNXRUNTIME=$$(scripts/onnxruntime 2>/dev/null) \
	    tests/cluster/with $(CARGO) test $(ALL) --test acceptance -- cluster:: kubernetes::

cluster: ## bring up a real Kubernetes cluster of two nodes on this machine, as root, and print how to use it
	@tests/cluster/up

cluster-down: ## take it away, with all that is on it
	@tests/cluster/down

image: ## the images of both programs, by docker or buildah, and their bills of materials (BASE, BUILDER, PREFIX, TAG: see scripts/image)
	@scripts/image
	@scripts/sbom

faults: ## what is killed, torn, full or forged, every combination of rights: far more than make test (CASTOFF_SEED=N plays a failure again)
	@scripts/prerequisites test
	@scripts/onnxruntime >/dev/null
	@tests/clients/run --prepare
	@tests/pooler/build >/dev/null || echo "no pooler can be built here: what needs one is skipped, and in CI it fails"
	@$(CARGO) build $(ALL) --bins --tests
	@CASTOFF_EXAMPLES=$${CASTOFF_EXAMPLES:-50} CASTOFF_KILLS=$${CASTOFF_KILLS:-200} CASTOFF_ROLLS=$${CASTOFF_ROLLS:-100} \
	    CASTOFF_UPLOAD_MB=$${CASTOFF_UPLOAD_MB:-5120} CASTOFF_ONNXRUNTIME=$$(scripts/onnxruntime 2>/dev/null) \
	    CASTOFF_EXHAUSTIVE=$${CASTOFF_EXHAUSTIVE:-1} \
	    tests/cluster/with $(CARGO) test --locked -p acceptance --test acceptance -- --nocapture --test-threads=2 faults:: kubernetes::kills oracle:: histories:: documents::

fuzz: ## feed our parsers what nobody would write (FUZZ_SECONDS=60 for each; the first time it compiles for minutes)
	@scripts/prerequisites lint
	@scripts/onnxruntime >/dev/null
	@scripts/fuzz

lint: docs-check ## formatting, clippy, documentation, dependencies, the chart; every warning is an error
	@scripts/prerequisites lint
	@echo "== cargo fmt" && $(CARGO) fmt --all --check
	@echo "== clippy" && $(CARGO) clippy --quiet $(ALL) --all-targets -- -D warnings
	@echo "== documentation" && RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet $(ALL) --no-deps
	@echo "== dependencies" && scripts/cargo-deny check bans licenses sources
	@echo "== chart" && scripts/chart

docs-check: ## that what our documents point at is there
	@echo "== documents" && scripts/docs-check

advisories: ## known vulnerabilities of our dependencies (fetches a database from GitHub)
	@scripts/cargo-deny check advisories || { \
	    echo "If the reason above is that the advisory database cannot be fetched: it lies on GitHub, which not every"; \
	    echo "machine reaches. That says nothing about our dependencies; run this where GitHub can be reached."; \
	    exit 1; }

bench: ## the figures, as a table and a plot in target/bench (ONLY="keys iris": these parts; optimized: minutes, the first time)
	@scripts/prerequisites lint
	@scripts/onnxruntime >/dev/null
	@echo "== what nodes are compared to" && tests/benches/python/run --prepare
	@echo "== build the optimized programs" && $(CARGO) build $(ALL) --release --bins
	@echo "== measure (on loopback)" && $(CARGO) bench $(ALL) --bench node --bench plane -- $(ONLY)

bench-cluster: ## the figures of pods and of many deployments, on a real cluster (ONLY="pods thousand": these parts)
	@scripts/prerequisites test
	@scripts/onnxruntime >/dev/null
	@echo "== build the optimized programs" && $(CARGO) build $(ALL) --release --bins
	@echo "== measure (on a cluster of this machine)"
	@CASTOFF_CLUSTER_PROFILE=release CASTOFF_CLUSTER_TAG=bench CASTOFF_ONNXRUNTIME=$$(scripts/onnxruntime 2>/dev/null) \
	    tests/cluster/with $(CARGO) bench $(ALL) --bench plane -- $(ONLY)

models: ## train the models of the tests again, with the answers that are expected (scikit-learn, minutes)
	@scripts/models

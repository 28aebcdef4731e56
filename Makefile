# All commands for developers, CI and the build. The machine needs python3 >= 3.11 with pip, make and git.

UV_VERSION := 0.13.8
SAM_VERSION := 1.170.0
CHECKOV_VERSION := 3.3.30
SPEED ?=
STORE ?= directory
AGENT ?=
UI ?=
JOBS ?= 2
SEEDS ?= 1000
ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV := .tools/uv-$(UV_VERSION)/bin/uv
READY := .venv/.ready
# uv, aws-sam-cli and checkov with everything that they install, each file with its hash. `make lock-tools` writes them.
TOOLS := infra/ops/tools
SAM := .tools/sam-$(SAM_VERSION)/.ready
CHECKOV := .tools/checkov-$(CHECKOV_VERSION)/.ready
# opencode, Claude Code and Codex with everything that they install, each package with its hash.
AGENT_PROGRAMS := .tools/agent-programs/.ready
# The architecture of the Lambda functions. `x86_64` builds the same bundle for the emulator on this machine.
BUNDLE_ARCH ?= aarch64
BUNDLE := build/bundle-$(BUNDLE_ARCH)
export SAM_CLI_TELEMETRY := 0
# uv checks and exports the lock offline. In the lock, this host, which cannot exist, replaces the host of every package index
# (see pyproject.toml).
NO_HOST := https://index.invalid
OFFLINE := --offline --no-config --default-index $(NO_HOST)/simple
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1

# Use the first of these interpreters that runs: a pyenv shim may exist but fail. Lambda runs 3.13, so prefer it.
define find_python
py=; for p in $(if $(PYTHON),$(PYTHON),python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3.13 \
		python3 python3.14 python3.12 python3.11); do \
	if "$$p" -c 'import sys, sqlite3, ssl, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then py=$$p; break; fi; \
done; \
[ -n "$$py" ] || { echo "setup: no working Python >= 3.11 found; name one: make setup PYTHON=/path/to/python3" >&2; exit 1; }
endef

# Lambda's code folder is read-only, so the interpreter cannot cache compiled modules, and compiling them takes half of a cold
# start. So the bundle contains the modules compiled, for the path that they have in Lambda and without a check against their
# sources. Only Lambda's Python version can compile them. If it is missing, `make build` prints the warning, because sam hides the
# output of these recipes.
is_lambdas_python = "$$py" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))'
define compile_modules
@$(find_python); if $(is_lambdas_python); then \
	"$$py" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$(1)" -p /var/task $(2); \
fi
endef

# uv does not read pip's settings, so the recipes pass it the package index that this machine's pip uses, if one is configured,
# and store it nowhere. Files may come from any configured index, because the hashes in the lock verify them.
define use_pips_index
pip_says() { .tools/pip config get "$$1" 2>/dev/null | tr '\n' ' ' | sed 's/ *$$//' || true; }; \
index=$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$(pip_says global.index-url)}}}; \
extra=$${UV_EXTRA_INDEX_URL:-$${PIP_EXTRA_INDEX_URL:-$$(pip_says global.extra-index-url)}}; \
cert=$${SSL_CERT_FILE:-$${PIP_CERT:-$$(pip_says global.cert)}}; \
unset UV_INDEX_URL; \
[ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"; \
[ -z "$$extra" ] || export UV_EXTRA_INDEX_URL="$$extra" UV_INDEX_STRATEGY=unsafe-best-match; \
[ -z "$$cert" ] || export SSL_CERT_FILE="$$cert"; \
export UV_HTTP_TIMEOUT="$${UV_HTTP_TIMEOUT:-$${PIP_DEFAULT_TIMEOUT:-60}}"
endef

.PHONY: help
help: ## Print this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Create .venv and install everything from the lock (other targets do this when needed)

.PHONY: demo
demo: $(READY) $(if $(filter opencode claude codex,$(AGENT)),$(AGENT_PROGRAMS)) ## Run a whole town on this machine, on a fast clock (SPEED=40, STORE=directory|s3|moto, AGENT=opencode|claude|codex, UI=1 for a page)
	@PATH="$(CURDIR)/.tools/agent-programs/bin:$$PATH" .venv/bin/townctl demo $(if $(SPEED),--speed $(SPEED)) --store $(STORE) \
		$(if $(AGENT),--agent "$(AGENT)") $(if $(UI),--ui)

.PHONY: demo-pr
demo-pr: $(READY) ## Run the demo with pull requests: a fake GitHub, reviews, approvals, merges (SPEED=40)
	@.venv/bin/townctl demo --strategy pr $(if $(SPEED),--speed $(SPEED))

.PHONY: quick
quick: $(READY) ## Run the tests that find most mistakes in rules, events and actions, in under 90 s (ARGS="-k words", JOBS=2)
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile -m "not slow and not lengthy" \
		tests/unit tests/scenarios tests/conformance tests/conventions $(ARGS)

.PHONY: test
test: $(READY) ## Run all tests but the longest, and list the ten slowest (ARGS="-k words", JOBS=2)
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not long and not agents and not browser and not dynalite" $(ARGS)

.PHONY: test-long
test-long: $(READY) ## Run the longest tests: simulated fleets, single faults, whole demos, an hour with an evil agent (about 7 minutes)
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile -m "long and not agents and not browser and not dynalite" $(ARGS)

.PHONY: check
check: lint lint-template test-long test ## Run everything that CI runs

.PHONY: lint lint-format lint-style lint-types lint-imports lint-lock
lint: lint-format lint-style lint-types lint-imports lint-lock ## Check format, style, types, import rules and the lock
lint-format: $(READY)
	.venv/bin/ruff format --check --output-format concise .
lint-style: $(READY)
	.venv/bin/ruff check .
lint-types: $(READY)
	.venv/bin/mypy
lint-imports: $(READY)
	.venv/bin/lint-imports
lint-lock: $(READY)
	$(UV) lock --check --quiet $(OFFLINE) --python .venv/bin/python

.PHONY: fix
fix: $(READY) ## Format the code, and fix what ruff can fix
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

.PHONY: drain-test
drain-test: $(READY) ## Evict a town's container while an agent works, and check the drain (ARGS="--how nonce")
	.venv/bin/python -m infra.devstack.drain_test $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure the figures for which the design sets performance targets
	.venv/bin/python -m tests.benchmarks $(ARGS)

.PHONY: bench-serve
bench-serve: $(READY) ## Measure `townctl serve`: events a second beside a baseline, and how soon an event acts
	@mkdir -p build
	.venv/bin/python -m tests.benchmarks.serve $(ARGS)

.PHONY: bench-storage
bench-storage: $(READY) ## Measure commits of towns of 200 KB to 100 MB on a local S3, and compare them with whole files and Litestream
	.venv/bin/python -m tests.benchmarks.storage $(ARGS)

.PHONY: long-life
long-life: $(READY) ## Simulate 90 days of a busy town: size of its image, bytes of its commits (DAYS=90, HOURS=24 at full pace)
	.venv/bin/python -m tests.benchmarks.long_life --days $(or $(DAYS),90) --hours $(or $(HOURS),24) --plot docs/long-life.svg $(ARGS)

.PHONY: mutants
mutants: $(READY) ## Plant bugs in rules and actions, and check that the tests find them
	.venv/bin/python -m tests.mutants $(ARGS)

.PHONY: mutants-protocol
mutants-protocol: $(READY) ## Plant bugs in protocol and storage, and check that the test that each names finds it
	.venv/bin/python -m tests.mutants.protocol $(ARGS)

.PHONY: soak
soak: $(READY) ## Run real loops and agents while processes, disks, clocks and networks fail (MINUTES=30, SEED=random)
	.venv/bin/python -m tests.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: simulate
simulate: $(READY) ## Simulate whole fleets under faults, from many seeds (SEEDS=1000)
	.venv/bin/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

.PHONY: recordings-accept
recordings-accept: $(READY) ## Record the golden recordings again and show what changed (ARGS="NAME" or --look)
	.venv/bin/python -m tests.recordings.make $(ARGS)

.PHONY: cover
cover: $(READY) ## Run all tests and show the branches that no test covers
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile -m "not agents and not browser and not dynalite" --cov --cov-report=term-missing $(ARGS)

.PHONY: lock
lock: $(UV) ## Update uv.lock after a change of dependencies (ARGS="--upgrade-package NAME")
	@$(find_python); $(use_pips_index); unset UV_EXTRA_INDEX_URL UV_INDEX_STRATEGY; \
	$(UV) lock --no-config --python "$$py" $(ARGS)
	@# Keep names, versions, markers and hashes, but replace every host, and drop the sizes, which not every index gives. See the
	@# comment at the top of pyproject.toml.
	@sed -E -e 's#registry = "[^"]+"#registry = "$(NO_HOST)/simple"#' \
		-e 's#\{ url = "[^"]*/([^/"]+)"#{ url = "$(NO_HOST)/\1"#' -e 's#, size = [0-9]+##' uv.lock > .tools/uv.lock && mv .tools/uv.lock uv.lock
	@$(find_python); $(UV) lock --check --quiet $(OFFLINE) --python "$$py"

.PHONY: lock-tools
lock-tools: $(UV) ## Pin uv, aws-sam-cli and checkov with everything that they install, by hash, after a change of their versions
	@$(find_python); $(use_pips_index); for tool in uv==$(UV_VERSION) aws-sam-cli==$(SAM_VERSION) checkov==$(CHECKOV_VERSION); do \
		echo "$$tool" | $(UV) pip compile --quiet --no-config --python "$$py" --universal --python-version 3.11 --generate-hashes \
			--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "$(TOOLS)/$${tool%%==*}.txt" - >/dev/null; \
	done

.PHONY: audit
audit: $(READY) ## Look up known vulnerabilities of everything in the lock (exit code 1: there are some, 3: no data)
	@$(UV) export --quiet --locked $(OFFLINE) --python .venv/bin/python --all-groups --no-emit-project \
		--output-file .tools/audited.txt >/dev/null
	@.venv/bin/python -m infra.ops.audit .tools/audited.txt || { status=$$?; echo "audit: exit code $$status" >&2; exit $$status; }

.PHONY: sbom
sbom: $(BUNDLE)/.ready ## Write the SBOM (CycloneDX) of the Lambda bundle beside it; `make build` does so too
	@echo "$(BUNDLE)/sbom.cdx.json"

.PHONY: sam
sam: $(SAM) ## Install aws-sam-cli below .tools, in an environment of its own

.PHONY: build
build: $(SAM) ## Build the Lambda bundles (arm64) into .aws-sam/build
	@$(find_python); $(is_lambdas_python) || \
		echo "build: no Python 3.13 found, so the bundle is not compiled and every cold start takes twice as long" >&2
	.tools/sam-$(SAM_VERSION)/bin/sam build
	@cp $(BUNDLE)/sbom.cdx.json .aws-sam/build/sbom.cdx.json

.PHONY: build-x86
build-x86: build/sam-x86_64/.ready ## Build the same bundles for x86_64, for the emulator on this machine, into build/sam-x86_64

.PHONY: e2e
e2e: $(READY) build/template.json build/sam-x86_64/.ready ## Run the end-to-end tests: the whole stack in Lambda's runtime emulator
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile tests/e2e $(ARGS)

.PHONY: e2e-agents
e2e-agents: $(READY) $(AGENT_PROGRAMS) ## Run towns with real coding agents and a scripted model (needs node and npm; ARGS="-k opencode")
	PATH="$(CURDIR)/.tools/agent-programs/bin:$$PATH" .venv/bin/python -m pytest -n $(JOBS) --dist load -m "agents and not long" $(ARGS) tests/e2e_agents

.PHONY: e2e-agents-long
e2e-agents-long: $(READY) $(AGENT_PROGRAMS) ## Run the towns with real coding agents that take many minutes (ARGS="-k convoy")
	PATH="$(CURDIR)/.tools/agent-programs/bin:$$PATH" .venv/bin/python -m pytest -m "agents and long" $(ARGS) tests/e2e_agents

# dynalite, another implementation of DynamoDB than moto's; npm verifies its hash and those of what it needs.
DYNALITE := .tools/dynalite/.ready
.PHONY: test-dynalite
test-dynalite: $(READY) $(DYNALITE) ## Run the promises of every waiting room on dynalite, an implementation of DynamoDB (needs node and npm)
	PATH="$(CURDIR)/.tools/dynalite/node_modules/.bin:$$PATH" .venv/bin/python -m pytest -n0 -m dynalite $(ARGS) tests/unit/storage/test_waiting_rooms.py

# axe-core, which checks a page against the rules of accessibility; npm verifies its hash.
AXE := .tools/axe/.ready
.PHONY: browser
browser: $(READY) ## Install Debian's chromium, if it is missing and this is Debian or Ubuntu as root
	@.venv/bin/python -m tests.ui.browser

.PHONY: test-ui
test-ui: browser $(AXE) ## Open townctl ui in Debian's chromium: every view, clicks, keys, axe rules; pictures in build/ui (ARGS="-k words")
	.venv/bin/python -m pytest -n0 -m browser $(ARGS) tests/ui

.PHONY: bench-ui
bench-ui: browser ## Measure townctl ui over a town of 2,000 live beads and 20,000 ticks: first paint, memory, refresh (BEADS=2000, TICKS=20000)
	.venv/bin/python -m tests.ui.load --beads $(or $(BEADS),2000) --ticks $(or $(TICKS),20000)

.PHONY: ui-pictures
ui-pictures: browser ## Make the pictures of the README from a demo that runs, in four minutes (docs/ui-town.png, docs/ui-timeline.png)
	.venv/bin/python -m tests.ui.pictures

.PHONY: agent-programs
agent-programs: $(AGENT_PROGRAMS) ## Install opencode, Claude Code and Codex below .tools (needs node and npm)

.PHONY: lock-agent-programs
lock-agent-programs: ## Pin the coding agents by hash after a change of their versions in infra/ops/agent_programs/package.json
	npm --prefix infra/ops/agent_programs install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved \
		--no-audit --no-fund

.PHONY: sam-local
sam-local: $(READY) build/template.json build/sam-x86_64/.ready ## Run every `sam local invoke` of the README against servers on this machine (ARGS=--stay)
	.venv/bin/python -m infra.devstack.sam_local $(ARGS)

SOURCES := $(shell find functions shared -name '*.py' -o -name '*.sql' -o -name '*.md' -o -name '*.json')
build/sam-x86_64/.ready: template.yaml uv.lock Makefile $(SOURCES) $(SAM)
	@mkdir -p build; BUNDLE_ARCH=x86_64 .tools/sam-$(SAM_VERSION)/bin/sam build --build-dir build/sam-x86_64 >build/sam-x86_64.log 2>&1 || \
		{ cat build/sam-x86_64.log >&2; exit 1; }
	@touch $@

.PHONY: transformed
transformed: build/template.json build/template-gradual.json build/template-traced.json ## Write the template after the SAM transform to build/template.json

test test-long: transformed build/sam-x86_64/.ready build/bundle-aarch64/.ready
build/template.json: template.yaml infra/devstack/transformed.py $(SAM)
	@AWS_DEFAULT_REGION=eu-west-1 .tools/sam-$(SAM_VERSION)/bin/python infra/devstack/transformed.py $< $@
build/template-traced.json: template.yaml infra/devstack/transformed.py $(SAM)
	@AWS_DEFAULT_REGION=eu-west-1 .tools/sam-$(SAM_VERSION)/bin/python infra/devstack/transformed.py $< $@ Tracing=Active
build/template-gradual.json: template.yaml infra/devstack/transformed.py $(SAM)
	@AWS_DEFAULT_REGION=eu-west-1 .tools/sam-$(SAM_VERSION)/bin/python infra/devstack/transformed.py $< $@ GradualDeployment=true

.PHONY: openapi
openapi: $(READY) ## Regenerate the OpenAPI document of the APIs
	.venv/bin/python -m infra.ops.openapi

.PHONY: tables-accept
tables-accept: $(READY) ## Accept how the tables of townctl look now, at 80 and 140 columns
	ACCEPT_TABLES=1 .venv/bin/python -m pytest -q -n0 tests/unit/townctl/test_tables.py

.PHONY: reference
reference: $(READY) ## Regenerate docs/events.md and docs/settings.md from the classes of events and settings
	.venv/bin/python -m infra.reference.pages

.PHONY: bench-fleet
bench-fleet: $(READY) ## Run 200 towns x 20 ticks through the worker on a local S3, and compute the cost of a month (ARGS="--store none")
	.venv/bin/python -m tests.benchmarks.fleet $(ARGS)

.PHONY: bench-calls
bench-calls: $(READY) ## Measure what one request to table, queue and bucket computes, beside the SDK, and the first of a new process
	.venv/bin/python -m tests.benchmarks.calls $(ARGS)

.PHONY: bench-backtest
bench-backtest: $(READY) ## Run a backtest of 1,000 recorded town-hours on two cores (TOWNS=42, HOURS=24)
	.venv/bin/python -m tests.benchmarks.backtests --towns $(or $(TOWNS),42) --hours $(or $(HOURS),24)

.PHONY: costs-accept
costs-accept: $(READY) ## Count the requests of a fleet again and write what a month costs into docs/costs.md
	.venv/bin/python -m tests.benchmarks.fleet --store none --accept

.PHONY: lint-template
lint-template: build/template.json $(CHECKOV) ## Check the template with sam, before and after the SAM transform, and with checkov
	.tools/sam-$(SAM_VERSION)/bin/sam validate --lint --region eu-west-1
	.tools/sam-$(SAM_VERSION)/bin/sam validate --lint --region eu-west-1 --template build/template.json
	.tools/checkov-$(CHECKOV_VERSION)/bin/checkov --config-file infra/ops/checkov.yaml --file build/template.json

.PHONY: dashboards
dashboards: $(READY) ## Regenerate dashboards, alarms and the table of metrics from the catalogue
	.venv/bin/python -m infra.ops.dashboards

# `sam build` calls build-<logical id> for each function. All functions have the same bundle, so it is built once and copied.
.PHONY: build-TickFunction build-WorkerFunction build-EventsFunction build-RedriveFunction build-ArchiveFunction build-AuthorizerFunction build-DebugFunction build-CredentialsFunction build-RetentionFunction
build-TickFunction build-WorkerFunction build-EventsFunction build-RedriveFunction build-ArchiveFunction build-AuthorizerFunction build-DebugFunction build-CredentialsFunction build-RetentionFunction: $(BUNDLE)/.ready
	@mkdir -p "$(ARTIFACTS_DIR)"
	@cp -R $(BUNDLE)/python/. "$(ARTIFACTS_DIR)"
	@cp -R functions shared "$(ARTIFACTS_DIR)"
	@find "$(ARTIFACTS_DIR)/functions" "$(ARTIFACTS_DIR)/shared" -name __pycache__ -type d -prune -exec rm -rf {} +
	@git describe --always --tags --dirty >"$(ARTIFACTS_DIR)/functions/release.txt" 2>/dev/null || \
		echo unknown >"$(ARTIFACTS_DIR)/functions/release.txt"
	@$(find_python); cd "$(ARTIFACTS_DIR)" && "$$py" -I -S -B -c 'import sys; sys.path.insert(0, "."); from shared.runner import code_version as it; it.keep()'
	$(call compile_modules,$(ARTIFACTS_DIR),"$(ARTIFACTS_DIR)/functions" "$(ARTIFACTS_DIR)/shared")

# The locked runtime dependencies as prebuilt wheels for Lambda's platform, with every hash verified.
build/bundle-%/.ready: uv.lock pyproject.toml infra/ops/sbom.py Makefile $(UV)
	@rm -rf $(@D); mkdir -p $(@D)
	@$(find_python); $(UV) export --quiet --locked $(OFFLINE) --python "$$py" --no-default-groups --no-emit-project \
		--output-file $(@D)/requirements.txt >/dev/null 2>.tools/export.log
	@$(find_python); $(use_pips_index); $(UV) pip install --quiet --no-config --python "$$py" --target $(@D)/python \
		--python-platform $*-manylinux_2_28 --python-version 3.13 --only-binary :all: --require-hashes \
		--requirements $(@D)/requirements.txt
	@rm -rf $(@D)/python/bin $(@D)/python/.lock
	@$(find_python); "$$py" -I infra/ops/sbom.py $(@D)/python uv.lock pyproject.toml >$(@D)/sbom.cdx.json
	$(call compile_modules,$(@D)/python,$(@D)/python)
	@touch $@

# aws-sam-cli pins libraries that the project needs in other versions, so it has an environment of its own.
$(SAM): $(UV)
	@$(find_python); \
	echo "setup: installing aws-sam-cli $(SAM_VERSION)"; \
	rm -rf .tools/sam-$(SAM_VERSION); "$$py" -m venv --without-pip .tools/sam-$(SAM_VERSION); \
	$(use_pips_index); $(UV) pip install --quiet --no-config --python .tools/sam-$(SAM_VERSION)/bin/python \
		--require-hashes --requirements $(TOOLS)/aws-sam-cli.txt
	@touch $@

# checkov pins other versions than the project, too.
$(CHECKOV): $(UV) $(TOOLS)/checkov.txt
	@$(find_python); \
	echo "setup: installing checkov $(CHECKOV_VERSION)"; \
	rm -rf .tools/checkov-$(CHECKOV_VERSION); "$$py" -m venv --without-pip .tools/checkov-$(CHECKOV_VERSION); \
	$(use_pips_index); $(UV) pip install --quiet --no-config --python .tools/checkov-$(CHECKOV_VERSION)/bin/python \
		--require-hashes --requirements $(TOOLS)/checkov.txt
	@touch $@

# npm verifies the hash of each package, and takes it from the registry that it is configured for: the lock names no address. No
# install script runs.
$(AGENT_PROGRAMS): infra/ops/agent_programs/package.json infra/ops/agent_programs/package-lock.json infra/ops/agent_programs/__main__.py | $(READY)
	@for program in node npm; do command -v $$program >/dev/null || { \
		echo "agent-programs: there is no $$program here, and real coding agents come from npm: install Node.js 20 or newer with npm" \
			"(Debian and Ubuntu: apt-get install nodejs npm; macOS: brew install node), then repeat this command" >&2; exit 1; }; done
	@mkdir -p $(@D); cp infra/ops/agent_programs/package.json infra/ops/agent_programs/package-lock.json $(@D)
	@echo "agent-programs: installing opencode, Claude Code and Codex"
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >npm.log 2>&1 || { cat npm.log >&2; exit 1; }
	@.venv/bin/python -m infra.ops.agent_programs $(@D)
	@touch $@

$(DYNALITE): tests/dynalite/package.json tests/dynalite/package-lock.json
	@command -v npm >/dev/null || { \
		echo "test-dynalite: there is no npm here, and dynalite comes from npm: install Node.js 20 or newer with npm" \
			"(Debian and Ubuntu: apt-get install nodejs npm), then repeat this command" >&2; exit 1; }
	@mkdir -p $(@D); cp tests/dynalite/package.json tests/dynalite/package-lock.json $(@D)
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >npm.log 2>&1 || { cat npm.log >&2; exit 1; }
	@touch $@

$(AXE): tests/ui/axe/package.json tests/ui/axe/package-lock.json
	@command -v npm >/dev/null || { \
		echo "test-ui: there is no npm here, and the rules of accessibility come from npm: install Node.js 20 or newer with npm" \
			"(Debian and Ubuntu: apt-get install nodejs npm), then repeat this command" >&2; exit 1; }
	@mkdir -p $(@D); cp tests/ui/axe/package.json tests/ui/axe/package-lock.json $(@D)
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >npm.log 2>&1 || { cat npm.log >&2; exit 1; }
	@touch $@

.PHONY: dist
dist: $(READY) ## Build the wheel that `pipx install` or `uv tool install` makes into townctl and town-agent, into dist
	@.venv/bin/python -m infra.ops.wheel build/wheel
	@$(UV) build --quiet --wheel $(OFFLINE) --python .venv/bin/python --out-dir dist build/wheel
	@ls dist/*.whl

# As pipx and `uv tool` do it: an environment with nothing else in it.
.PHONY: try-dist
try-dist: dist ## Install that wheel into an empty environment, build/tried
	@rm -rf build/tried; .venv/bin/python -m venv --without-pip build/tried
	@$(use_pips_index); $(UV) pip install --quiet --no-config --python build/tried/bin/python dist/*.whl

.PHONY: clean
clean: ## Remove caches, build output and the demo's data
	rm -rf build .aws-sam dist demo-data .coverage htmlcov .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .mutmut-cache mutants
	find . \( -name .git -o -name .venv -o -name .tools \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Like clean, and also remove .venv and .tools
	rm -rf .venv .tools *.egg-info

# uv itself, below .tools. pip installs it from the index that pip is configured for on this machine, and verifies its hash.
$(UV):
	@$(find_python); \
	for pip in "$$py -m pip" "python3 -m pip" "/usr/bin/python3 -m pip" pip3 pip; do $$pip --version >/dev/null 2>&1 && break; pip=; done; \
	[ -n "$$pip" ] || { echo "setup: no pip found beside $$py; install pip first" >&2; exit 1; }; \
	mkdir -p .tools; \
	printf '#!/bin/sh\nexec %s "$$@"\n' "$$pip" > .tools/pip; chmod +x .tools/pip; \
	echo "setup: installing uv $(UV_VERSION)"; \
	rm -rf .tools/uv-$(UV_VERSION); \
	.tools/pip install --quiet --disable-pip-version-check --root-user-action=ignore \
		--target .tools/uv-$(UV_VERSION) --require-hashes --requirement $(TOOLS)/uv.txt 2>.tools/pip.log || { cat .tools/pip.log >&2; exit 1; }

.venv/pyvenv.cfg:
	@$(find_python); "$$py" -m venv --without-pip --clear .venv

# A single `uv pip sync` installs the lock and this project (editable) together, so .venv is never half installed.
$(READY): pyproject.toml uv.lock $(UV) .venv/pyvenv.cfg
	@.venv/bin/python -c 'import sqlite3, sys; print("setup: Python", sys.version.split()[0], "SQLite", sqlite3.sqlite_version)'
	@$(UV) export --quiet --locked $(OFFLINE) --python .venv/bin/python --output-file .tools/requirements.txt \
		>/dev/null 2>.tools/export.log || \
		{ echo "setup: uv.lock does not match pyproject.toml; run: make lock (uv's output: .tools/export.log)" >&2; exit 1; }
	@$(use_pips_index); $(UV) pip sync --quiet --no-config --python .venv/bin/python .tools/requirements.txt
	@touch $(READY); echo "setup: .venv is ready"

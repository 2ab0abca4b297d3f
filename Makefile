# Commands for developers; `make help` lists them. CARGO_TARGET_DIR is respected.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Options of `make faults`: how long it runs, which part (stories, crashes, events, lags, random, mutation, churn; default
# all of these; or planted), which story (one of tests/faults/story.rs; of planted, which fault), and the first seed.
SECONDS_OF_FAULTS = $(if $(filter command line,$(origin SECONDS)),$(SECONDS),3600)
ONLY ?=
STORY ?=
SEED ?=
# Another commit that `make bench` also builds and measures.
BASE ?=

.PHONY: campaign faults mutants help demo test bench lint chart image plugin crds tools ground judges opinions agents sieve prometheus shells sandbox

# The default folders of the Rust and Go installers.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin

CHART := charts/mailcow-operator
# Cargo's target folder, from any of its settings.
TARGET = $$(cargo metadata --no-deps --format-version 1 --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

help: ## Prints this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do printf 'make %-6s %s\n' "$$name" "$$what"; done

demo: tools ground ## Shows the operator at work on this machine; KEEP=1 keeps it running until Ctrl-C
	@cargo build --quiet --workspace --bins --locked
	@"$(TARGET)/debug/demo"

test: tools ground judges opinions agents sieve prometheus shells ## Runs all tests, with a real Kubernetes API server and a simulated Mailcow
	@status=0; threads=$$(nproc); [ "$$threads" -ge 4 ] || threads=4; \
	RUST_TEST_THREADS="$${RUST_TEST_THREADS:-$$threads}" cargo test --workspace --locked --no-fail-fast || status=$$?; \
	skipped() { printf '  %s\n' "$$*"; }; \
	echo; echo "Skipped, because data or programs are missing:"; \
	none=$$( \
	  [ -n "$${MAILCOW_RECORDINGS:-}" ] || skipped "the simulator against recordings of a real Mailcow: MAILCOW_RECORDINGS is not set"; \
	  [ -n "$${SPF_SUITE:-}" ] || skipped "the test suite of RFC 7208: SPF_SUITE is not set to a folder with rfc7208-tests.yml"; \
	  [ -n "$${RULE_CASES:-}" ] || skipped "cases of rules with expected results: RULE_CASES is not set to a folder with cases.json"; \
	  [ -n "$${SIEVE_FACTS:-}" ] || skipped "recorded facts about Mailcow's Sieve: SIEVE_FACTS is not set to a folder with sieve-gate.json and sieve-pipeline.json"; \
	  command -v sievec >/dev/null || skipped "Sieve scripts in Dovecot: sievec is missing"; \
	  test -x /usr/lib/dovecot/lmtp || skipped "mail through Mailcow's chain of scripts: dovecot-lmtpd is missing"; \
	  test -x /usr/lib/dovecot/imap || skipped "the intake worker on a real mailbox: dovecot-imapd is missing"; \
	  tests/intake/judges/build.sh --ready >/dev/null 2>&1 || skipped "tasks in Radicale and Xandikos, signatures in standardwebhooks, JSON in django-anymail: they are not installed"; \
	  command -v musl-gcc >/dev/null || skipped "character sets of Mailcow's C library: musl-gcc is missing"; \
	  command -v promtool >/dev/null || skipped "metrics and alerts in Prometheus: promtool is missing"; \
	  tests/second_opinion/build.sh --ready >/dev/null 2>&1 || skipped "DNS records in checkdmarc, dkimpy, pyspf and postfix-mta-sts-resolver: they are not installed"; \
	  command -v zsh >/dev/null || skipped "completion in zsh: zsh is missing"; \
	  command -v fish >/dev/null || skipped "completion in fish: fish is missing"; \
	  tests/mcp/judges/build.sh --ready >/dev/null 2>&1 || skipped "the MCP server before its public clients and the conformance suite: they are not installed"; \
	  command -v prometheus >/dev/null || skipped "the dashboard on a real Prometheus: prometheus is missing" \
	); echo "$${none:-  nothing}"; exit $$status

campaign: sieve ## Delivers 10,000 mails to sinks while processes are killed and sinks fail, and counts them; MAILS=1000, SEED=3
	INTAKE_MAILS=$(or $(MAILS),10000) INTAKE_SEED=$(or $(SEED),17) cargo test --locked --test intake -- --ignored --nocapture each_of_ten_thousand

bench: tools ground ## Measures time, requests and memory with thousands of objects; ONLY=name runs one benchmark, BASE=commit also measures that commit
	@status=0; rows="$$(mktemp)"; base="$$(mktemp -d)"; trap 'rm -rf "$$rows" "$$base"' EXIT; binary=""; target="$(TARGET)"; \
	if [ -n "$(BASE)" ]; then \
	  binary="$$target/base/$$(git rev-parse "$(BASE)^{commit}")/mailcow-operator"; \
	  if [ ! -x "$$binary" ]; then \
	    git archive "$(BASE)" | tar -x -C "$$base"; \
	    (cd "$$base" && CARGO_TARGET_DIR="$$target" cargo build --profile bench --locked --bin mailcow-operator); \
	    mkdir -p "$$(dirname "$$binary")"; cp "$$target/release/mailcow-operator" "$$binary.new"; mv "$$binary.new" "$$binary"; \
	  fi; \
	fi; \
	BASE_OPERATOR="$$binary" cargo test --profile bench --locked --no-fail-fast --test e2e --test inventory --test dns_bench --test mcp --test cli -- \
	  --ignored --nocapture --test-threads 1 bench_$(ONLY) $(if $(ONLY),,--skip bench_large) | tee "$$rows" || status=$$?; \
	echo; uname -srm; echo "$$(nproc) cores; load: of the machine, over the last minute"; echo; \
	echo "| what | time | reads of Mailcow | writes to it | memory of the operator | load |"; echo "|---|---|---|---|---|---|"; \
	sed -n 's/^[^|]*\(| .* |\)$$/\1/p' "$$rows"; exit $$status

faults: tools ground ## Runs the operator with injected faults, for SECONDS=3600; ONLY=crashes runs one part, SEED=7 sets the first seed
	@FAULTS_SECONDS=$(SECONDS_OF_FAULTS) FAULTS_ONLY=$(ONLY) FAULTS_STORY=$(STORY) FAULTS_SEED=$(SEED) \
	  cargo test --locked --profile faults --test faults -- --ignored --nocapture long_form

mutants: tools ## Mutates src/plan and src/tenancy: unit tests must catch 95 % of the mutants; ONLY=domain mutates files with that name
	@tests/mutants/run.sh "$(TARGET)" "$(ONLY)"

lint: tools chart ## Checks format, clippy, documentation and the chart
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

chart: tools ## Lints the Helm chart and renders it with several values, good and bad
	@helm=$$(tests/controlplane/helm.sh); \
	render() { "$$helm" template demo $(CHART) "$$@"; }; \
	is() { [ "$$1" = "$$(render "$${@:3}" | grep -c -e "$$2")" ] || { echo "the chart with $${*:3}: not $$1 lines with $$2" >&2; exit 1; }; }; \
	for values in tests/chart/*.yaml; do "$$helm" lint --quiet --strict $(CHART) -f "$$values"; done; \
	is 4 'kind: CustomResourceDefinition'; \
	is 0 'kind: CustomResourceDefinition' --set crds.install=false; \
	is 0 'kind: Secret$$'; \
	is 1 'kind: Secret$$' --set mailcow.url=https://mail.example.com,mailcow.apiKey=key; \
	is 1 'mailcow-secret=mine' --set mailcow.existingSecret=mine; \
	is 0 'kind: ClusterRole' --set 'watchNamespaces={a,b},rbac.aggregate=false'; \
	is 2 'aggregate-to-edit' --set 'watchNamespaces={a,b}'; \
	is 3 'aggregate-to-edit' --set tenancy=Shared; \
	is 0 'require-ownership'; \
	is 1 'require-ownership' --set tenancy=Shared; \
	is 0 'require-ownership' --set tenancy=Shared,dns.requireOwnership=false; \
	is 1 'require-ownership' --set dns.requireOwnership=true; \
	is 6 'kind: ValidatingAdmissionPolicy$$' --set tenancy=Shared; \
	is 0 'kind: ValidatingAdmissionPolicy$$' --set tenancy=Shared,admissionPolicies.enabled=false; \
	is 0 'kind: ValidatingAdmissionPolicy'; \
	is 6 'kind: ValidatingAdmissionPolicy$$' --set admissionPolicies.enabled=true; \
	is 6 'failurePolicy: Ignore' --set admissionPolicies.enabled=true,admissionPolicies.failurePolicy=Ignore; \
	is 6 'kubernetes.io/metadata.name, operator: In, values: ."mail".' --set 'admissionPolicies.enabled=true,watchNamespaces={mail}'; \
	is 1 'watch-namespaces=a,b' --set 'watchNamespaces={a,b}'; \
	is 0 'type: Recreate'; \
	is 0 'provisioning-namespaces'; \
	is 1 'provisioning-namespaces=default' --set featureGates.AutoProvisioning=true; \
	is 1 'provisioning-namespaces=a,b' --set featureGates.AutoProvisioning=true --set 'provisioningNamespaces={a,b}'; \
	is 0 'provisioning-namespaces' --set featureGates.AutoProvisioning=true --set 'provisioningNamespaces={*}'; \
	is 2 'resources: .leases.'; \
	is 1 '- --lease-name='; \
	is 0 'server-namespaces'; \
	is 1 'server-namespaces=default=a,b' --set 'mailcow.namespaces={a,b}'; \
	is 1 'server-namespaces=x=a' --set 'mailcow.servers[0].name=x,mailcow.servers[0].existingSecret=s,mailcow.servers[0].namespaces={a}'; \
	is 0 'platform-namespaces'; \
	is 1 'platform-namespaces=a,b' --set 'platformNamespaces={a,b}'; \
	is 1 'kind: NetworkPolicy'; \
	is 1 'image: "registry.example.com/m@sha256:0\{64\}"' --set image.repository=registry.example.com/m,image.tag=x,image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000; \
	is 0 'kind: NetworkPolicy' --set networkPolicy.enabled=false; \
	is 0 'kind: PodDisruptionBudget'; \
	is 1 'kind: PodDisruptionBudget' --set replicas=2; \
	is 1 'labelSelector' --set 'topologySpreadConstraints[0].topologyKey=zone'; \
	is 1 'dns-resolvers=192.0.2.53,192.0.2.54' --set 'dns.resolvers={192.0.2.53,192.0.2.54}'; \
	is 0 'impersonate'; \
	is 0 'impersonate' --set mcp.enabled=true; \
	is 1 'resources: .tokenreviews.' --set mcp.enabled=true; \
	is 3 'impersonate' --set 'mcp.enabled=true,mcp.callers.users={ada},mcp.callers.groups={team},mcp.callers.serviceAccountNamespaces={a}'; \
	is 0 'allow-writes' --set mcp.enabled=true; \
	is 1 'allow-writes' --set mcp.enabled=true,mcp.allowWrites=true; \
	is 2 'kind: NetworkPolicy' --set mcp.enabled=true; \
	is 1 'url: https://t.example' --set 'sinks[0].name=t,sinks[0].webhook.url=https://t.example,sinks[0].namespaces={a}'; \
	for bad in tenancy=Many watchNamespace=a 'watchNamespaces={A_b}' 'watchNamespaces={a,a}' leaderElection.enabled=false 'sinks[0].name=t,sinks[0].namespaces={a}' 'sinks[0].name=t,sinks[0].webhook.url=https://u:p@t,sinks[0].namespaces={a}' resync=10 image.digest=sha256:12 networkPolicy.except[0]=ten 'mcp.callers.groups={system:masters}' mcp.allowWrite=true mailcow.url=mail.example.com,mailcow.apiKey=key mailcow.url=https://mail.example.com log.format=xml dns.mode=guess admissionPolicies.failurePolicy=Warn unknown=1 mailcow.apiKey=key; do \
	  if render --set "$$bad" >/dev/null 2>&1; then echo "the chart takes $$bad" >&2; exit 1; fi; \
	done; \
	echo "chart: ok"

image: tools ground sandbox ## Builds the image's root file system and bill of materials without a container engine, and tests it; PROFILE=dev is faster
	@root="$(TARGET)/image"; tests/image/rootfs.sh "$$root"; tests/image/attest.py "$$root" "$$root.attestations"; \
	IMAGE_ROOT="$$root" cargo test --quiet --locked --test install -- --ignored --nocapture the_image

plugin: tools ## Builds the kubectl plugin as a static program, packs it for krew, and judges krew's manifest; PROFILE=dev is faster
	@tests/plugin/package.sh "$(TARGET)/plugin"; tests/plugin/validate.sh "$(TARGET)/plugin/email.yaml" "$(TARGET)"/plugin/*.tar.gz

crds: tools ## Regenerates crds/ and the chart's copies from src/crd
	UPDATE_CRDS=1 cargo test --quiet --locked --test crds

tools:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.92 or newer (https://rustup.rs)" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: install one, on Debian: apt-get install gcc libc6-dev" >&2; exit 1; }
	@command -v go >/dev/null || { echo "go is missing: install Go 1.26 or newer (https://go.dev/dl)" >&2; exit 1; }

ground: tools
	@tests/controlplane/build.sh >/dev/null
	@tests/controlplane/helm.sh >/dev/null

judges: tools
	@tests/judges/build.sh >/dev/null

# Python libraries that give a second opinion on DNS records.
opinions:
	@tests/second_opinion/build.sh >/dev/null || \
	  echo "the Python libraries can't be installed; the tests report what they skip" >&2
	@tests/intake/judges/build.sh >/dev/null || \
	  echo "the CalDAV servers and webhook libraries can't be installed; the tests report what they skip" >&2

# Public MCP clients and the conformance suite.
agents:
	@tests/mcp/judges/build.sh >/dev/null || \
	  echo "the public MCP clients can't be installed; the tests report what they skip" >&2

sandbox:
	@command -v bwrap >/dev/null && exit; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap </dev/null; \
	else \
	  echo "bwrap is missing: install bubblewrap" >&2; exit 1; \
	fi

# Dovecot compiles the Sieve scripts of the rules and delivers mail through them; musl is the C library of Mailcow's
# Dovecot.
sieve:
	@command -v sievec >/dev/null && test -x /usr/lib/dovecot/lmtp && test -x /usr/lib/dovecot/imap && command -v musl-gcc >/dev/null && exit; \
	want="dovecot-core dovecot-sieve dovecot-lmtpd dovecot-imapd musl-tools"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$want </dev/null; \
	else \
	  echo "To test Sieve scripts too: sudo apt-get install $$want (or your system's packages with sievec)" >&2; \
	fi

# The shells that complete the words of `kubectl email`, beside bash.
shells:
	@command -v zsh >/dev/null && command -v fish >/dev/null && exit; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends zsh fish </dev/null || \
	    echo "zsh and fish can't be installed; the tests report what they skip" >&2; \
	else \
	  echo "To test completion too: sudo apt-get install zsh fish" >&2; \
	fi

# Prometheus checks metrics and alerts, and answers the dashboard's queries.
prometheus:
	@command -v promtool >/dev/null && command -v prometheus >/dev/null && exit; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus </dev/null || \
	    echo "prometheus can't be installed; the tests report what they skip" >&2; \
	else \
	  echo "To test metrics, alerts and the dashboard too: sudo apt-get install prometheus" >&2; \
	fi

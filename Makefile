# make help lists what there is.
SHELL := /bin/bash
GO ?= go
# The newest golangci-lint that the pinned Go builds.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := help
.PHONY: help build demo demo-push demo-stop test unit e2e e2e-drupal lint verify generate fmt

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## the one binary, bin/hefring
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/hefring ./cmd/hefring

demo: ## install what is missing, build, start the demo fleet and print its addresses
	@.ci/install demo
	@$(MAKE) --no-print-directory build
	@bin/hefring demo up

demo-push: ## push the demo distribution's next version
	@bin/hefring demo push

demo-stop: ## stop the demo: dashboard, sites, git server
	@bin/hefring demo down

test: ## install what the tests need, check the code, run every test
	@.ci/install test
	@$(MAKE) --no-print-directory verify unit e2e

verify: ## vet, formatting, generated code in step with its source
	$(GO) vet ./...
	@test -z "$$(gofmt -l . | grep -v _templ.go)" || { gofmt -l .; echo "run make fmt"; exit 1; }
	$(GO) tool templ generate -path . -log-level error
	@git diff --exit-code --stat -- '*_templ.go' || { echo "generated code is stale: run make generate and commit"; exit 1; }

unit: ## every package's tests, with the race detector
	$(GO) test -race -timeout 30m $$($(GO) list ./... | grep -v /e2e)
	$(GO) test -timeout 10m -run TestForms_Every ./cmd/hefring

e2e: build ## the real binary with real git, PHP, nginx and a real browser
	$(GO) test -count=1 -timeout 25m ./e2e/...

e2e-drupal: build ## the whole life of sites on real Drupal: HEFRING_DRUPAL_REPO=<git URL or path>, and for Drupal 7 HEFRING_DRUPAL7_REPO with HEFRING_DRUSH8
	@test -n "$$HEFRING_DRUPAL_REPO$$HEFRING_DRUPAL7_REPO" || { echo "say where Drupal is: HEFRING_DRUPAL_REPO=<git URL or path> make e2e-drupal"; exit 1; }
	@# -run names a test only if it was told where its Drupal is.
	$(GO) test -count=1 -timeout 90m -v -run "^($${HEFRING_DRUPAL_REPO:+TestDrupal}|$${HEFRING_DRUPAL7_REPO:+TestDrupal7})\$$" -tags drupal ./e2e/...

.PHONY: e2e-hosts
e2e-hosts: build ## several hosts, as network namespaces (needs root): a control plane, two web hosts and a database, each of which fails in the middle of an upgrade
	$(GO) test -count=1 -timeout 30m -tags hosts -run '^TestHosts' -v ./e2e

.PHONY: e2e-systemd
e2e-systemd: build ## the Debian package under a live systemd, booted in namespaces (needs root and systemd): its units, upgrade, removal
	$(GO) test -count=1 -timeout 30m -tags systemd -run '^TestSystemd$$' -v ./e2e

lint: ## golangci-lint with .golangci.yml
	$(GO) run $(GOLANGCI) run ./...

generate: ## templates to Go; settings and commands to docs/
	$(GO) tool templ generate -path . -log-level error
	$(GO) test -count=1 -run '^TestDocs_Generated_IsFresh$$' ./cmd/hefring -update-docs

fmt: ## gofmt
	gofmt -w $$(git ls-files '*.go')

.PHONY: bench-checks
bench-checks: ## what a check of a git repository costs, against git ls-remote; fails when a goal is missed
	$(GO) test -tags bench -count=1 -timeout 15m -run '^TestBenchChecks$$' -v ./plugins/git/lsrefs

.PHONY: bench-webhooks
bench-webhooks: ## from a webhook to the start of its build, p50 and p99, on both databases; fails when p99 is 1 s or more
	$(GO) test -tags bench -count=1 -timeout 40m -run '^TestBenchWebhooks$$' -v ./e2e

.PHONY: bench-builds
bench-builds: ## a first and a second platform against a fresh clone, time and disk; HEFRING_DRUPAL_REPO=<git URL or path>; fails when a goal is missed
	$(GO) test -tags bench -count=1 -timeout 30m -run '^TestBenchBuilds$$' -v ./plugins/git

.PHONY: bench-clones
bench-clones: ## what cloning a site's database costs, against each engine's own tools
	$(GO) test -tags bench -count=1 -timeout 20m -run '^TestBenchClones$$' -v ./internal/sites/database/engines

.PHONY: bench-upgrades
bench-upgrades: ## how long an upgrade refuses writes, against bare updates and Aegir's way; fails when a goal is missed. HEFRING_BENCH_FROM, HEFRING_BENCH_TO: folders of built Drupal; HEFRING_BENCH_RUNS, HEFRING_BENCH_ONLY
	$(GO) test -tags bench -count=1 -timeout 90m -run '^TestBenchUpgrades$$' -v ./internal/sites/host

.PHONY: bench-pages
bench-pages: ## every page on a fleet of 100,000 sites (SQLite: 10,000) with 20 readers, and how many queries it asks; fails when a goal is missed. HEFRING_BENCH_ONLY, HEFRING_BENCH_DATABASE, HEFRING_BENCH_REQUESTS, HEFRING_BENCH_PART
	$(GO) test -tags bench -count=1 -timeout 60m -run '^TestBenchPages$$' -v ./e2e

.PHONY: guide-pictures
guide-pictures: ## the pictures in the documents, made anew by the browser tests
	HEFRING_GUIDE=$(CURDIR)/docs/images $(GO) test -count=1 -timeout 30m -run '^Test(MainJob|Life_.*|People)$$' ./e2e

.PHONY: torture
torture: build ## kill -9 and faults at every step of every move, on every database; HEFRING_TORTURE_ONLY=<pattern> HEFRING_TORTURE_FOR=<time>
	HEFRING_TORTURE_LOGS=$(CURDIR)/bin/torture $(GO) test -tags torture -count=1 -parallel 6 -timeout 180m -run '^TestTorture_(Kills|Faults|BadVersions|Tampered)$$' -v ./e2e

# What a release is called and the time of everything in it. Two builds of one
# commit with the same Go give the same bytes.
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo 0.0.0-$$(git rev-list --count HEAD)-g$$(git rev-parse --short=12 HEAD))
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
RELEASE ?= bin/release
RELEASE_BUILD = GOFLAGS= CGO_ENABLED=0 GOOS=linux GOAMD64=v1 GOARM64=v8.0 $(GO) build -trimpath -buildvcs=true -ldflags "-s -w -X main.version=$(VERSION:v%=%)"

.PHONY: release
release: ## archives, Debian packages, SBOMs and checksums for linux on amd64 and arm64, in bin/release; VERSION=x.y.z
	@rm -rf $(RELEASE).work && mkdir -p $(RELEASE).work/extras/completions
	GOARCH=amd64 $(RELEASE_BUILD) -o $(RELEASE).work/hefring-amd64 ./cmd/hefring
	GOARCH=arm64 $(RELEASE_BUILD) -o $(RELEASE).work/hefring-arm64 ./cmd/hefring
	@$(RELEASE).work/hefring-$$($(GO) env GOHOSTARCH) man $(RELEASE).work/extras/man
	@for shell in bash zsh fish; do $(RELEASE).work/hefring-$$($(GO) env GOHOSTARCH) completion $$shell >$(RELEASE).work/extras/completions/hefring.$$shell || exit 1; done
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GO) run ./internal/release/cmd --version "$(VERSION)" --extras $(RELEASE).work/extras \
		--modules "$$($(GO) env GOMODCACHE)" --goroot "$$($(GO) env GOROOT)" --out $(RELEASE) $(RELEASE).work/hefring-amd64 $(RELEASE).work/hefring-arm64
	@rm -rf $(RELEASE).work

.PHONY: release-check
release-check: ## make the release twice, in two clones of this commit at two places, the second with nothing cached, and compare every byte
	@set -e; work=$$(mktemp -d); trap 'rm -rf $$work' EXIT; \
	git clone --quiet . $$work/one; git clone --quiet . $$work/another/place; \
	$(MAKE) --no-print-directory -C $$work/one release RELEASE=bin/release; \
	GOCACHE=$$work/cache $(MAKE) --no-print-directory -C $$work/another/place release RELEASE=bin/release; \
	diff -r $$work/one/bin/release $$work/another/place/bin/release && echo "Both releases are the same, byte for byte."

.PHONY: image
image: ## the container image hefring:$(VERSION), with podman or docker
	@$$(command -v podman || command -v docker || { echo "podman or docker is needed" >&2; exit 1; }) build --file Containerfile --build-arg VERSION=$(VERSION:v%=%) --tag hefring:$(VERSION:v%=%) .

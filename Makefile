# The two commands of a newcomer: make run, make test. The others are parts of them.
.PHONY: run build test check bench conformance soak fuzz packages

SHELL        := /bin/bash
.SHELLFLAGS  := -o pipefail -c
GO           ?= go
export CGO_ENABLED := 0
STATICCHECK   = honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Peers that the tests start privately. Postfix is the judge, Dovecot takes LMTP,
# the databases hold tables, and the last three examine index files.
PACKAGES      = postfix postfix-sqlite postfix-mysql postfix-pgsql postfix-ldap postfix-lmdb postfix-cdb postfix-pcre \
                dovecot-core dovecot-lmtpd dovecot-imapd swaks sqlite3 python3 \
                mariadb-server postgresql slapd ldap-utils memcached db5.3-util lmdb-utils tinycdb

# A working server on an example configuration in ./run, made at the first use.
run: build
	@bin/postern init run
	@bin/postern serve -c run --hints

build:
	$(GO) build -trimpath -buildvcs=false -o bin/postern ./cmd/postern

# Everything: format, vet, staticcheck, tests with the race detector, the real
# Postfix beside us, kills under load, each fuzz target for a while.
test: packages check build
	$(GO) test -count=1 -timeout 15m ./test/conformance/... ./test/failures/... ./test/integration/... ./test/script/... ./test/tables/...
	$(GO) test -count=1 -timeout 15m -v -run '^TestPowerCut$$' ./internal/spool/ -args -spool.cuts=1000 | grep -v '/cut='
	$(GO) test -count=1 -timeout 15m -v -run '^TestKill$$' ./internal/spool/ ./test/crash/ | grep -v '/kill='
	$(MAKE) fuzz FUZZTIME=20000x

check:
	@test -z "$$(gofmt -l cmd internal test bench)" || { gofmt -d cmd internal test bench; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	CGO_ENABLED=1 $(GO) test -race -count=1 ./cmd/... ./internal/...

# Our own cases, served by the real Postfix and by us.
conformance: build
	$(GO) test -count=1 ./test/conformance/...

# Side by side with Postfix in one run; prints both and the ratio.
bench: packages build
	$(GO) run ./bench
	$(GO) run ./bench/tables
	$(GO) run ./bench/check
	$(GO) test -run '^$$' -bench . ./internal/table/sql

# The long forms of the sampled tests.
soak: packages build
	$(GO) test -count=1 -v -timeout 3h -run '^TestPowerCut$$' ./internal/spool/ -args -spool.cuts=10000 | grep -v '/cut='
	$(GO) test -count=1 -v -timeout 1h -run '^TestMillion$$' ./internal/spool/ -args -spool.million=1000000
	POSTERN_SOAK=1 $(GO) test -count=1 -v -timeout 3h ./test/crash/ ./test/tables/
	POSTERN_SOAK=1 $(GO) test -count=1 -v -timeout 1h -run '^TestExplainIsReality$$' ./test/conformance/
	POSTERN_SOAK=1 $(GO) test -count=1 -v -run '^TestIdleSessions$$' ./internal/smtpd/

# Every fuzz target for FUZZTIME, a minute unless told otherwise. A count of inputs,
# 20000x, cannot end in the middle of one: with a time the fuzzer now and then
# reports the end itself as a failure ("context deadline exceeded").
FUZZTIME ?= 60s
fuzz:
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | sed 's/func //'); do \
	    echo "fuzz $$dir $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$dir; \
	  done; \
	done

# Installs what the tests need, when it is missing and there is a way to.
packages:
	@missing=""; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "please install:$$missing"; fi; \
	fi

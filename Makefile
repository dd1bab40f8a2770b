# Every target loops over the modules of the repository: none of them is part
# of another's build, so that users of the library do not pay for benchmarks,
# examples or test harnesses.
MODULES := . bench examples clustertest internal/chaos

# RC_REQUIRE_REDIS=1 turns the skip of a suite without its server into a
# failure; CI sets it. go test looks for little of what vet does, so it is left
# to vet.
GOTEST ?= go test -vet=off -timeout 900s

# The library is tested with the race detector. The other modules only with make
# test RACE=-race: compiling everything they need once more takes minutes.
RACE =
test-of-. vet-.: RACE = -race
# make test SHORT= runs all: what takes long to measure, the fleet on both
# servers, all of clustertest in containers, and the judges of the chaos suite on
# broken libraries.
SHORT = -short

.PHONY: test lint format vet-386 fuzz tidy bench bench-quick bench-report bench-hit bench-invalidation bench-lock chaos chaos-invalidation chaos-lock soak mutants quickstart outbox

TESTS := $(MODULES:%=test-of-%)

## test: format, vet of the library, and the tests of all modules; SHORT= with those that take long
test: format $(filter test-of-.,$(TESTS))
	@$(MAKE) --no-print-directory --output-sync=target -j2 \
	  $(filter test-of-clustertest,$(TESTS)) $(filter vet-.,$(MODULES:%=vet-%)) \
	  $(filter-out test-of-. test-of-clustertest,$(TESTS)) $(MODULES:%=tidied-%)

# One module at a time, because their tests have deadlines; but those of
# clustertest wait for servers most of the time, and leave room for the rest.
$(TESTS): test-of-%:
	@echo "== test $*"; cd $* && $(GOTEST) $(RACE) $(SHORT) $(FIRST) ./...

# What takes longest begins first.
test-of-.: FIRST = ./rc ./internal/fleet

## lint: formatting, vet, and modules in order
lint: format $(MODULES:%=vet-%) $(MODULES:%=tidied-%) vet-386

format:
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "gofmt: $$bad"; exit 1; fi

# With the flags of the tests, which then need not compile anew.
$(MODULES:%=vet-%): vet-%:
	@echo "== vet $*"; cd $* && go vet $(RACE) ./...

$(MODULES:%=tidied-%): tidied-%:
	@cd $* && go mod tidy -diff

## vet-386: vet for a machine of 32 bits
vet-386:
	GOARCH=386 go vet ./...

## fuzz: each fuzz target for FUZZTIME
FUZZTIME ?= 20s
fuzz:
	@for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done

## tidy: go mod tidy in every module
tidy:
	@for m in $(MODULES); do (cd $$m && go mod tidy) || exit 1; done

## bench-hit: the hit path, the hit in Redis and the miss, against peers in one run
bench-hit:
	go run -C bench ./cmd/hit

## bench-invalidation: tags, the verbs that make values invalid, their lag, and the bus
bench-invalidation:
	go run -C bench ./cmd/invalidation

# What the library is called in the report of the chaos suite.
VERSION = $$(git describe --always --dirty 2>/dev/null)

## chaos: the promises under every fault, alone and combined, on a real cluster; CHAOS has further flags
chaos:
	go run -C internal/chaos . -short -version "$(VERSION)" $(CHAOS)

## chaos-invalidation: tags, namespaces and patterns under faults, in both modes of coherence
chaos-invalidation:
	go run -C internal/chaos . -short -invalidation -coherence tracking -version "$(VERSION)" $(CHAOS)
	go run -C internal/chaos . -short -invalidation -coherence broadcast -version "$(VERSION)" $(CHAOS)

## chaos-lock: no two holders of a lock at a time, under faults; CHAOS=-short for a minute of it
chaos-lock:
	go run -C internal/chaos . -locks $(CHAOS)

## soak: combinations of faults for as long as SOAK says
SOAK ?= 2h
soak:
	go run -C internal/chaos . -soak $(SOAK) -version "$(VERSION)" $(CHAOS)

## mutants: break each mechanism on purpose and see its test fail
mutants:
	go run ./internal/mutate

## quickstart: the example, on the in-process Redis
quickstart:
	go run -C examples ./quickstart

## outbox: events of a database reach the caches while the relay is killed
outbox:
	go run -C examples ./outbox

# In the order of the report.
BENCHES := compare stampede steps scaling lock

## bench: everything side by side with its peers, and docs/benchmarks.md with its plots and the table in README.md made of it
bench:
	@for p in $(BENCHES); do echo "== $$p"; go run -C bench ./cmd/$$p -out ../docs/benchmarks || exit 1; done
	@$(MAKE) --no-print-directory bench-report

## bench-report: docs/benchmarks.md, its plots and the table in README.md, of what was measured last
bench-report:
	go run -C bench ./cmd/report

## bench-lock: locks beside those of others, alone and with 64 waiters
bench-lock:
	go run -C bench ./cmd/lock

## bench-quick: the figures of a few minutes, one line
bench-quick:
	go run -C bench ./cmd/quick

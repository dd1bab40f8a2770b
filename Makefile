# Every target loops over the modules of the repository: none of them is part
# of another's build, so that users of the library do not pay for benchmarks,
# examples or test harnesses.
MODULES := . bench examples clustertest internal/chaos

# RC_REQUIRE_REDIS=1 turns the skip of a suite without its server into a
# failure; CI sets it.
GOTEST ?= go test -race -timeout 900s

.PHONY: test lint fuzz tidy bench-hit bench-invalidation chaos chaos-invalidation soak mutants quickstart outbox

## test: all tests of all modules, with the race detector
test: test-of-.
	@$(MAKE) --no-print-directory --output-sync=target -j2 test-of-clustertest test-of-bench test-of-examples
	@$(MAKE) --no-print-directory test-of-internal/chaos

# One module at a time, because their tests have deadlines; but those of
# clustertest wait for six minutes, and leave room for small ones.
$(MODULES:%=test-of-%): test-of-%:
	@echo "== $*"; cd $* && $(GOTEST) ./...

## lint: formatting, vet, and modules in order
lint:
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "gofmt: $$bad"; exit 1; fi
	@for m in $(MODULES); do echo "== $$m"; (cd $$m && go vet ./... && go mod tidy -diff) || exit 1; done
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

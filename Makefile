# Everything that a user or developer runs. `make quickstart` is the place to begin.
EISFT := bin/eisft
LINT := .cache/bin/golangci-lint

.PHONY: quickstart setup build test test-race test-slow test-arm64 test-hosts lint fmt bench fuzz clean

quickstart: setup build
	$(EISFT) train --config configs/s-sft.yaml
	$(EISFT) quantize --calib data/demo/calib.parquet --eval-samples 32
	$(EISFT) export --shape 512x2048
	$(EISFT) inspect runs/latest

setup:
	@scripts/setup.sh

build:
	go build -o bin/ ./cmd/eisft

test: setup
	go test ./...

# Where goroutines meet: parallel loops, blocks of rows, layers in training, ranks, observers, the progress line.
RACES := ^Test(Parallel|Each|Nested|FeedFrom|EdgeGradients|EdgeTransfer|SameSeed|Rank|Calibrate$$|LineFromMany|NoTerminal)
test-race: setup
	go test -race -run '$(RACES)' ./model/... ./quant ./train/... ./internal/...

# Tests that take minutes are named TestSlow... and skip unless EISFT_SLOW is set.
test-slow: setup
	EISFT_SLOW=1 go test -timeout 60m -run '^TestSlow' ./...

# The kernels for arm64: whether they are what the generator writes, and short tests, emulated on other processors.
EMULATOR := $(if $(filter aarch64 arm64,$(shell uname -m)),env,qemu-aarch64 -L /usr/aarch64-linux-gnu)
test-arm64:
	@scripts/setup.sh --arm64
	d=$$(mktemp -d) && go run -C model/kernels/asm ./neon -out $$d/s -stubs $$d/go && cmp $$d/s model/kernels/asm_arm64.s && cmp $$d/go model/kernels/asm_arm64.go
	GOARCH=arm64 CGO_ENABLED=0 EISFT_BLAS=off go test -short -exec '$(EMULATOR)' ./model/kernels
	GOARCH=arm64 CGO_ENABLED=0 EISFT_BLAS=off go test -short -exec '$(EMULATOR)' -tags purego -run 'Kernels|Gemv|Stored|Blocks|Codes' ./model/kernels

# The hosts that export puts beside graphs: golden vectors, long prompts, the demo page, each rule broken once.
test-hosts: setup
	scripts/fetch-hosts.sh
	EISFT_HOSTS=1 go test -timeout 60m -v -run '^TestHost' ./export/hostfiles

lint:
	@scripts/setup-dev.sh
	$(LINT) run

fmt:
	@scripts/setup-dev.sh
	$(LINT) fmt

BENCHTIME := 1s
bench: setup
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...

FUZZTIME := 20s
fuzz:
	scripts/fuzz.sh $(FUZZTIME)

clean:
	rm -rf bin out runs

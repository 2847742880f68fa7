# The commands of everyday. Each may be run twice; none leaves anything outside of target/.

CARGO ?= cargo
RELEASE = target/release/outrigger

.PHONY: help build check test demo cross clean

help:
	@echo "make demo   build, prepare and run the demo pod under a real runtime (root, Debian)"
	@echo "make check  format, lints, unit and data tests: minutes, no root"
	@echo "make test   everything: check, documentation, real runtimes (root, Debian)"
	@echo "make build  the release build, $(RELEASE)"
	@echo "make cross  static programs for armv7, aarch64 and x86-64, target/cross/TARGET/outrigger; sizes"

build:
	@scripts/install-packages cc
	$(CARGO) build --release --locked

check:
	@scripts/install-packages cc
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --lib --test tidy --test config --test scenarios

test: check
	@scripts/install-packages crun runc busybox strace
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	$(CARGO) test --locked --bins --test host
	$(MAKE) build
	scripts/demo $(RELEASE)
	OUTRIGGER_RUNTIME=runc scripts/demo $(RELEASE)

demo: build
	@scripts/install-packages crun runc busybox
	@scripts/demo $(RELEASE)

cross:
	@cross/build

clean:
	$(CARGO) clean

# The commands of everyday. Each may be run twice; none leaves anything outside of target/.

CARGO ?= cargo
RELEASE = target/release/outrigger

.PHONY: help build check test simulation soak mutations demo cross qemu image clean

help:
	@echo "make demo   build, prepare and run the demo pod under a real runtime (root, Debian)"
	@echo "make check  format, lints, unit and data tests: minutes, no root"
	@echo "make test   everything: check, documentation, real runtimes, boots (root, Debian)"
	@echo "make soak SEEDS=n  the decisions in n random worlds, on all cores; stops at the first that breaks an invariant"
	@echo "make mutations  whether mistakes that are planted into the decisions are found (a quarter of an hour)"
	@echo "make build  the release build, $(RELEASE)"
	@echo "make qemu   boots all three under QEMU, and a Debian with systemd; ARCH=armv7 for one (root, Debian)"
	@echo "make image ARCH=x86_64|aarch64|armv7  a bootable demonstration, and how to boot it (root, Debian)"
	@echo "make cross  static programs for armv7, aarch64 and x86-64, target/cross/TARGET/outrigger; sizes"

build:
	@scripts/install-packages cc
	$(CARGO) build --release --locked

check:
	@scripts/install-packages cc
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --lib --test tidy --test config --test scenarios --test conformance --test simulation \
	    --test states --test simulate

test: check
	@scripts/install-packages crun runc busybox strace
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	$(CARGO) test --locked --bins --test host --test crash --test job
	$(MAKE) simulation
	$(MAKE) build
	scripts/demo $(RELEASE)
	OUTRIGGER_RUNTIME=runc scripts/demo $(RELEASE)
	$(MAKE) qemu

# Ten thousand random worlds, a million events without an allocation, the time of a decision. Profile
# `soak` is the release build made for speed, with checks of overflows: see Cargo.toml.
simulation:
	$(CARGO) test --locked --profile soak --test simulation --test allocations

SEEDS ?= 1000000
soak:
	SEEDS=$(SEEDS) $(CARGO) test --locked --profile soak --test simulation -- soak --nocapture

mutations:
	@tests/mutations/run

demo: build
	@scripts/install-packages crun runc busybox
	@scripts/demo $(RELEASE)

cross:
	@cross/build

# What is on x86_64 or armv7 alone comes with that one; the unit under Debian's systemd with neither.
qemu: cross
	@scripts/install-packages cc crun busybox cpio depmod dumpe2fs mke2fs mksquashfs mmdebstrap setpriv \
	    qemu-system-x86_64 qemu-system-aarch64
	@for arch in $(or $(ARCH),x86_64 aarch64 armv7); do tests/qemu/packages $$arch || exit 1; done
	$(CARGO) test --locked --test qemu -- $(ARCH)

image:
	@scripts/image "$(ARCH)"

clean:
	$(CARGO) clean

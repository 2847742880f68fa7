################################################################################
#
# outrigger
#
################################################################################

OUTRIGGER_VERSION = 0.1.0
# The repository that this external tree is in. Nothing is downloaded but the
# crates, hence no outrigger.hash: their checksums are in Cargo.lock.
OUTRIGGER_SITE = $(BR2_EXTERNAL_OUTRIGGER_PATH)/../..
OUTRIGGER_SITE_METHOD = local
OUTRIGGER_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /target
OUTRIGGER_LICENSE = MIT or Apache-2.0
OUTRIGGER_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE

# Buildroot sets the profile by its own options, which stand before these in
# the environment. An init that stays in memory is built as Cargo.toml has it.
OUTRIGGER_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_OPT_LEVEL="z" \
	CARGO_PROFILE_RELEASE_LTO="fat" \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS="1"

# The command `simulate` is for a desk.
OUTRIGGER_CARGO_BUILD_OPTS = --no-default-features
OUTRIGGER_CARGO_INSTALL_OPTS = --no-default-features

# The crates are vendored when a package is downloaded, and a local one never
# is; yet cargo builds with --offline. cargo prints what belongs into its
# configuration when all crates are there.
define OUTRIGGER_VENDOR_CRATES
	cd $(@D) && \
	if ! grep -qs vendored-sources .cargo/config.toml; then \
		mkdir -p .cargo $(BR_CARGO_HOME) && \
		$(TARGET_MAKE_ENV) CARGO_HOME=$(BR_CARGO_HOME) \
			cargo vendor --manifest-path Cargo.toml --locked VENDOR \
			>> .cargo/config.toml; \
	fi
endef
OUTRIGGER_PRE_CONFIGURE_HOOKS += OUTRIGGER_VENDOR_CRATES

# An absolute link is right with BR2_ROOTFS_MERGED_USR, too.
ifeq ($(BR2_INIT_OUTRIGGER),y)
define OUTRIGGER_INSTALL_INIT_LINK
	ln -sf /usr/bin/outrigger $(TARGET_DIR)/sbin/init
endef
OUTRIGGER_POST_INSTALL_TARGET_HOOKS += OUTRIGGER_INSTALL_INIT_LINK
endif

define OUTRIGGER_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/systemd/outrigger.service \
		$(TARGET_DIR)/usr/lib/systemd/system/outrigger.service
	$(INSTALL) -D -m 0644 $(@D)/systemd/outrigger.slice \
		$(TARGET_DIR)/usr/lib/systemd/system/outrigger.slice
endef

define OUTRIGGER_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/configs/sysv/outrigger \
		$(TARGET_DIR)/etc/init.d/S90outrigger
endef

$(eval $(cargo-package))

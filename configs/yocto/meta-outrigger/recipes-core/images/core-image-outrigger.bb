SUMMARY = "A small image with outrigger as its init"
LICENSE = "MIT"

inherit core-image features_check

# Set INIT_MANAGER = "outrigger": packagegroup-core-boot brings the init, and
# with another one the pods would not be run by anybody.
CONFLICT_DISTRO_FEATURES = "systemd sysvinit"

IMAGE_INSTALL = "packagegroup-core-boot outrigger-conf ${CORE_IMAGE_EXTRA_INSTALL}"
IMAGE_LINGUAS = ""

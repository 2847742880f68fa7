SUMMARY = "Runs pods of OCI containers on one device"
DESCRIPTION = "A small supervisor that runs pods of OCI containers with the pod \
lifecycle of Kubernetes, as the init of the system or as a service of another init."
SECTION = "base"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE-MIT;md5=8e7629d67ecab5074a02d35ee8ceecb1 \
                    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
                    "

# The repository that this layer is in, at what is committed on its branch. A
# product that keeps the layer elsewhere names its repository and a SRCREV.
OUTRIGGER_REPOSITORY ?= "${@os.path.normpath(d.getVar('THISDIR') + '/../../../../..')};protocol=file"
OUTRIGGER_BRANCH ?= "main"
SRC_URI = "git://${OUTRIGGER_REPOSITORY};branch=${OUTRIGGER_BRANCH}"
SRCREV ?= "${AUTOREV}"
PV = "0.1.0+git"

inherit cargo cargo-update-recipe-crates systemd update-alternatives update-rc.d

# The crates of Cargo.lock, for the fetcher. Written, and renewed after a change
# of Cargo.lock, by: bitbake -c update_crates outrigger
include ${BPN}-crates.inc

do_configure:prepend() {
    if [ "${@'crate://' in d.getVar('SRC_URI')}" != "True" ]; then
        bbfatal "${BPN}-crates.inc is missing: run 'bitbake -c update_crates ${BPN}' once"
    fi
}

# The command `simulate` is for a desk.
CARGO_BUILD_FLAGS:append = " --no-default-features"

# The packaging strips, and keeps what it has stripped for ${PN}-dbg.
export CARGO_PROFILE_RELEASE_STRIP = "none"
# OE-core's standard library is built to unwind, and rustc refuses to link it
# into a program that aborts. A panic ends in outrigger's own hook either way.
export CARGO_PROFILE_RELEASE_PANIC = "unwind"

# The OCI runtime, from meta-virtualization. Pods of host processes need none.
PACKAGECONFIG ??= "crun"
PACKAGECONFIG[crun] = ",,,crun"

do_install:append() {
    install -d ${D}${base_sbindir}
    ln -rs ${D}${bindir}/outrigger ${D}${base_sbindir}/init.outrigger

    install -D -m 0644 ${S}/systemd/outrigger.service ${D}${systemd_system_unitdir}/outrigger.service
    install -D -m 0644 ${S}/systemd/outrigger.slice ${D}${systemd_system_unitdir}/outrigger.slice
    install -D -m 0755 ${S}/configs/sysv/outrigger ${D}${sysconfdir}/init.d/outrigger
}

# ${PN} is the program alone. One of these two says who starts it.
PACKAGES =+ "${PN}-init ${PN}-service"

SUMMARY:${PN}-init = "Outrigger as /sbin/init"
FILES:${PN}-init = "${base_sbindir}/init.outrigger"
RDEPENDS:${PN}-init = "${PN}"
ALTERNATIVE:${PN}-init = "init"
ALTERNATIVE_LINK_NAME[init] = "${base_sbindir}/init"
ALTERNATIVE_TARGET[init] = "${base_sbindir}/init.outrigger"
# Whoever installs it wants it: above the other inits.
ALTERNATIVE_PRIORITY[init] = "400"

SUMMARY:${PN}-service = "Outrigger as a service of systemd or of a System V init"
FILES:${PN}-service = "${systemd_system_unitdir}/outrigger.slice ${sysconfdir}/init.d/outrigger"
RDEPENDS:${PN}-service = "${PN}"
SYSTEMD_PACKAGES = "${PN}-service"
SYSTEMD_SERVICE:${PN}-service = "outrigger.service"
INITSCRIPT_PACKAGES = "${PN}-service"
INITSCRIPT_NAME:${PN}-service = "outrigger"
INITSCRIPT_PARAMS:${PN}-service = "defaults 90 10"

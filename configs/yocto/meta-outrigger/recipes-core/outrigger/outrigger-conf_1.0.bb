SUMMARY = "The machine file and the pods of the example image"
DESCRIPTION = "A product puts its own in their place with an outrigger-conf_%.bbappend."
SECTION = "base"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "file://outrigger.toml \
           file://pods/console.toml \
           "
S = "${UNPACKDIR}"

inherit allarch

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${sysconfdir}/outrigger/pods
    install -m 0644 ${S}/outrigger.toml ${D}${sysconfdir}/outrigger
    install -m 0644 ${S}/pods/*.toml ${D}${sysconfdir}/outrigger/pods
}

CONFFILES:${PN} = "${sysconfdir}/outrigger"

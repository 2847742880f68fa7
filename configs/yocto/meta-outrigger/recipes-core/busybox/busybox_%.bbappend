FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

SRC_URI:append = "${@' file://outrigger.cfg' if d.getVar('VIRTUAL-RUNTIME_init_manager') == 'outrigger-init' else ''}"

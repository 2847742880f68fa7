//! The architectures, and the machine that QEMU plays for each.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
    Armv7,
}

impl Arch {
    /// As in the names of the tests and below target/qemu.
    pub(super) fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Armv7 => "armv7",
        }
    }

    /// QEMU and the machine. The oldest processors that are supported, so that an instruction of a
    /// newer one shows; x86-64 has no such choice to make, and the fullest emulates fastest.
    pub(super) fn qemu(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &["qemu-system-x86_64", "-cpu", "max"],
            Arch::Aarch64 => &["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a53"],
            Arch::Armv7 => &["qemu-system-arm", "-machine", "virt,highmem=off", "-cpu", "cortex-a7"],
        }
    }

    /// The first serial port, where the kernel's console is.
    pub(super) fn console(self) -> &'static str {
        match self {
            Arch::X86_64 => "ttyS0",
            Arch::Aarch64 | Arch::Armv7 => "ttyAMA0",
        }
    }

    /// What `uname -m` says.
    pub(super) fn machine(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Armv7 => "armv7l",
        }
    }

    /// The machines of ARM have no keyboard by themselves.
    pub(super) fn keyboard(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &[],
            Arch::Aarch64 | Arch::Armv7 => &["-device", "virtio-keyboard-pci"],
        }
    }
}

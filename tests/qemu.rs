//! The cross-built binary as PID 1 of real kernels, with real crun, under QEMU.
//!
//! `make qemu` builds what is needed and runs all of it; `cargo test --test qemu armv7::` runs one
//! architecture. Every situation is a function of the architecture in `qemu/`, and is listed below.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, but not what they call"
)]

mod qemu {
    pub(crate) mod arch;
    mod console;
    pub(crate) mod faults;
    pub(crate) mod lifecycle;
    pub(crate) mod limits;
    mod machine;
    pub(crate) mod measures;
    mod monitor;
    mod setup;
    mod shell;
    pub(crate) mod storms;
    pub(crate) mod systemd;
    mod turn;
    pub(crate) mod variants;
}

/// The same situations on every architecture, each as `<architecture>::<situation>`.
macro_rules! on_every_architecture {
    ($($place:ident::$situation:ident,)*) => {
        on_every_architecture! { @on x86_64 X86_64 $($place::$situation,)* }
        on_every_architecture! { @on aarch64 Aarch64 $($place::$situation,)* }
        on_every_architecture! { @on armv7 Armv7 $($place::$situation,)* }
    };
    (@on $module:ident $arch:ident $($place:ident::$situation:ident,)*) => {
        mod $module {
            $(#[test]
            fn $situation() {
                super::qemu::$place::$situation(super::qemu::arch::Arch::$arch);
            })*
        }
    };
}

on_every_architecture! {
    lifecycle::a_pod_starts_in_order_and_power_off_ends_it_in_the_reverse,
    lifecycle::ctrl_alt_del_reboots_in_order,
    limits::limits_are_enforced_and_neighbours_live,
    storms::storms_pass_and_everything_runs_again,
    storms::a_supervisor_that_stands_still_is_reset_by_the_watchdog,
    faults::a_broken_configuration_is_told_and_the_machine_reboots_after_a_while,
    faults::a_broken_configuration_can_be_mended_in_a_rescue_shell,
    faults::a_rescue_shell_can_be_asked_for_on_the_kernel_command_line,
    faults::the_failure_of_an_essential_pod_reboots_in_time,
    faults::a_panic_of_the_supervisor_is_survived,
}

/// Machines that are made otherwise, and figures: where one architecture says it for all.
mod x86_64_alone {
    use super::qemu::{arch::Arch, measures, variants};

    #[test]
    fn cgroups_of_version_1_alone_have_their_limits() {
        variants::cgroups_of_version_1_alone_have_their_limits(Arch::X86_64);
    }

    #[test]
    fn what_is_left_of_64_mebibytes_is_enough() {
        variants::what_is_left_of_64_mebibytes_is_enough(Arch::X86_64);
    }

    #[test]
    fn a_root_that_cannot_be_written_to_is_no_hindrance() {
        variants::a_root_that_cannot_be_written_to_is_no_hindrance(Arch::X86_64);
    }

    #[test]
    fn the_first_main_container_is_nearly_as_quick_as_by_a_script() {
        measures::the_first_main_container_is_nearly_as_quick_as_by_a_script(Arch::X86_64);
    }
}

/// The smallest machines have the least memory.
mod armv7_alone {
    #[test]
    fn ten_containers_fit_into_the_memory_budget() {
        super::qemu::measures::ten_containers_fit_into_the_memory_budget(super::qemu::arch::Arch::Armv7);
    }
}

/// Not as PID 1, but under Debian's.
mod systemd_252 {
    #[test]
    fn the_service_keeps_its_promises() {
        super::qemu::systemd::the_service_keeps_its_promises();
    }
}

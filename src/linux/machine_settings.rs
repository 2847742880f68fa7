//! What the machine file sets on the machine itself: its name, its loopback interface, kernel
//! parameters.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use super::{network_namespace, reason};

/// Longest name of a kernel parameter, in bytes: more than the longest path below `/proc/sys`.
const NAME_BYTES_MAX: usize = 255;

/// sethostname(2). The kernel takes up to 64 bytes.
pub fn set_hostname(name: &str) -> Result<(), String> {
    nix::unistd::sethostname(name)
        .map_err(|errno| format!("cannot set the host name `{name}`: {}", errno.desc()))
}

/// Brings `lo` up, which gives it 127.0.0.1 and ::1.
pub fn bring_loopback_up() -> Result<(), String> {
    network_namespace::bring_loopback_up()
        .map_err(|errno| format!("cannot bring up the loopback interface: {}", errno.desc()))
}

/// Sets a kernel parameter (sysctl(8)), written with dots or slashes.
pub fn set_kernel_parameter(name: &str, value: &str) -> Result<(), String> {
    let failed = |reason: &str| format!("cannot set the kernel parameter `{name}`: {reason}");
    let path = parameter_path(name).map_err(failed)?;
    // Without O_CREAT: the file is there, or the kernel does not have the parameter.
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| {
        // In one call: each is taken for the whole value.
        file.write_all(value.as_bytes())
    });
    written.map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            failed("this kernel does not have it, or its module is not loaded")
        } else if error.kind() == ErrorKind::InvalidInput {
            failed(&format!("it does not take the value `{value}`"))
        } else {
            failed(&reason(&error))
        }
    })
}

/// Where it is below `/proc/sys`. As sysctl(8) has it, what stands first between two parts, dot or
/// slash, is what separates them all; the other one is then part of a name or stands for a dot in
/// it (`net.ipv4.conf.eth0/100.forwarding` is that of the interface `eth0.100`).
fn parameter_path(name: &str) -> Result<String, &'static str> {
    let path = match name.find(['.', '/']).and_then(|at| name.get(at..=at)) {
        Some("/") => name.to_owned(),
        _ => name
            .chars()
            .map(|character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
    };
    if name.len() > NAME_BYTES_MAX {
        return Err("its name is longer than 255 bytes");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return Err("its name is none; write it like `net.ipv4.ip_forward`");
    }
    Ok(format!("/proc/sys/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_either_way_of_writing() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
            ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
            ("single", "/proc/sys/single"),
        ] {
            assert_eq!(parameter_path(name).as_deref(), Ok(path), "{name}");
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let long = "x".repeat(256);
        for name in ["", ".", "/", "..", "a..b", "/kernel/panic", "kernel/../../x", "a.//.b", "a\0", &long] {
            assert!(parameter_path(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_there_says_so() {
        assert_eq!(
            set_kernel_parameter("kernel.no_such_thing", "1").unwrap_err(),
            "cannot set the kernel parameter `kernel.no_such_thing`: this kernel does not have it, or its \
             module is not loaded"
        );
    }
}

//! The hardware watchdog: a timer outside of the kernel's reach that resets the machine unless it
//! is fed in time (the kernel's documentation, watchdog-api).

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::reason;
use super::state_directory::describe;

/// `struct watchdog_info` of linux/watchdog.h.
#[derive(Default)]
#[repr(C)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

const WDIOF_SETTIMEOUT: u32 = 0x0080;
const WDIOF_MAGICCLOSE: u32 = 0x0100;

#[allow(unsafe_code, reason = "nix makes the functions, and ioctl(2) is unsafe")]
mod requests {
    nix::ioctl_read!(get_support, b'W', 0, super::Info);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);
    nix::ioctl_read!(get_timeout, b'W', 7, libc::c_int);
}

/// A watchdog that is running.
///
/// Dropped without [`Watchdog::disarm`] it goes on running, and resets the machine unless somebody
/// opens it again in time: for a reboot that hangs, that is as it should be.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    path: PathBuf,
    timeout: Duration,
    warning: Option<String>,
    options: u32,
}

impl Watchdog {
    /// Opens the watchdog at `path`, which starts it, and gives it `timeout`, in whole seconds,
    /// rounded up. What then holds is what the device says afterwards: see [`Watchdog::timeout`].
    ///
    /// In the error: why there is no watchdog. `Device or resource busy`: another process has it.
    pub fn open(path: &Path, timeout: Duration) -> Result<Watchdog, String> {
        let mut options = OpenOptions::new();
        // O_CLOEXEC comes with the standard library. A device does not keep anybody waiting at
        // open, but a FIFO that stands there by mistake would.
        let device = options.write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        let device = device.map_err(|error| describe("open the watchdog", path, &error))?;
        let info = support(&device).map_err(|reason| {
            format!("cannot use `{}` as a watchdog: {reason}; name another device", path.display())
        })?;
        let (held, warning) = agree_on_timeout(&device, info.options, path, timeout);
        Ok(Watchdog { device, path: path.to_owned(), timeout: held, warning, options: info.options })
    }

    /// How long it waits to be fed: what the device says, which may round or bound what it is told.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is to be said about it, once: that its timeout is not the one that was asked for.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Has it wait anew. A write, which every driver takes, and not `WDIOC_KEEPALIVE`, which some
    /// have not.
    pub fn feed(&mut self) -> Result<(), String> {
        // Any byte but the one that allows stopping.
        self.device.write_all(b"f").map_err(|error| describe("feed the watchdog", &self.path, &error))
    }

    /// Stops it: only then may the machine stand still, as after a halt.
    ///
    /// In the error: that it cannot be stopped and the machine will be reset.
    pub fn disarm(mut self) -> Result<(), String> {
        let failed = |reason: &str| {
            let path = self.path.display();
            format!("cannot stop the watchdog `{path}`: {reason}; the machine will be reset")
        };
        // Asked of the driver; that it was built or started with `nowayout` shows in sysfs alone.
        if self.options & WDIOF_MAGICCLOSE == 0 {
            return Err(failed("its driver does not allow it"));
        }
        if is_without_way_out(&self.path) {
            return Err(failed("its driver was told not to (`nowayout`)"));
        }
        let written = self.device.write_all(b"V");
        written.map_err(|error| failed(&reason(&error)))
    }
}

#[allow(unsafe_code, reason = "an ioctl that only this device has")]
fn support(device: &File) -> Result<Info, String> {
    let mut info = Info::default();
    // SAFETY: WDIOC_GETSUPPORT writes one `struct watchdog_info`, which `info` is.
    match unsafe { requests::get_support(device.as_raw_fd(), &mut info) } {
        Ok(_) => Ok(info),
        Err(nix::errno::Errno::ENOTTY) => Err("it is none".to_owned()),
        Err(errno) => Err(errno.desc().to_owned()),
    }
}

/// The timeout that holds, and what is to be said if it is not `wanted`.
#[allow(unsafe_code, reason = "ioctls that only this device has")]
fn agree_on_timeout(
    device: &File,
    options: u32,
    path: &Path,
    wanted: Duration,
) -> (Duration, Option<String>) {
    let seconds = whole_seconds(wanted);
    let mut answer = seconds;
    let refused = if options & WDIOF_SETTIMEOUT == 0 {
        Some("the device has no other".to_owned())
    } else {
        // SAFETY: WDIOC_SETTIMEOUT reads and writes one int, which `answer` is.
        let set = unsafe { requests::set_timeout(device.as_raw_fd(), &mut answer) };
        set.err().map(|errno| errno.desc().to_owned())
    };
    // Verified: what the call above left in its argument is not what every driver then does.
    let mut held = answer;
    // SAFETY: WDIOC_GETTIMEOUT writes one int, which `held` is.
    let known = unsafe { requests::get_timeout(device.as_raw_fd(), &mut held) };
    let path = path.display();
    if known.is_err() {
        let assumed = Duration::from_secs(answer.unsigned_abs().into());
        let text = match refused {
            None => format!("the watchdog `{path}` does not tell its timeout; it was set to {answer} s"),
            Some(reason) => format!(
                "the watchdog `{path}` keeps a timeout of its own and does not tell it ({reason}); \
                 it is fed as if it were {answer} s"
            ),
        };
        return (assumed, Some(text));
    }
    let warning = match refused {
        _ if held == seconds => None,
        Some(reason) => {
            Some(format!("the watchdog `{path}` has a timeout of {held} s and not {seconds} s: {reason}"))
        }
        None => Some(format!("the watchdog `{path}` was told {seconds} s and has a timeout of {held} s")),
    };
    (Duration::from_secs(held.unsigned_abs().into()), warning)
}

/// Rounded up: rounding down could reset a machine that was fed in time. At least 1.
fn whole_seconds(timeout: Duration) -> libc::c_int {
    let rounded = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
    libc::c_int::try_from(rounded.max(1)).unwrap_or(libc::c_int::MAX)
}

/// Whether sysfs says that nothing stops it. Not every kernel has that file
/// (CONFIG_WATCHDOG_SYSFS); without it, closing tells in the kernel's log.
fn is_without_way_out(path: &Path) -> bool {
    // `/dev/watchdog` is the first one under its old name.
    let name = match path.file_name().and_then(|name| name.to_str()) {
        Some("watchdog") => "watchdog0",
        Some(name) => name,
        None => return false,
    };
    let said = std::fs::read_to_string(format!("/sys/class/watchdog/{name}/nowayout"));
    said.is_ok_and(|said| said.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_watchdog_is_refused() {
        let error = Watchdog::open(Path::new("/dev/null"), Duration::from_secs(10)).unwrap_err();
        assert_eq!(error, "cannot use `/dev/null` as a watchdog: it is none; name another device");
        let error = Watchdog::open(Path::new("/nonexistent"), Duration::from_secs(10)).unwrap_err();
        assert_eq!(error, "cannot open the watchdog `/nonexistent`: No such file or directory");
    }

    #[test]
    fn timeouts_are_whole_seconds_and_not_shorter_than_asked() {
        for (timeout, seconds) in [
            (Duration::ZERO, 1),
            (Duration::from_millis(1), 1),
            (Duration::from_secs(10), 10),
            (Duration::from_millis(10_001), 11),
            (Duration::MAX, libc::c_int::MAX),
        ] {
            assert_eq!(whole_seconds(timeout), seconds, "{timeout:?}");
        }
    }
}

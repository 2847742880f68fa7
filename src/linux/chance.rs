//! A number that differs between machines.

use std::path::Path;

use super::{clock, regular_file};

/// A number that is another one on each machine and at each boot: the kernel's boot id, random(4).
/// Where it has none, from the clock.
pub fn seed() -> u64 {
    let id = regular_file::read(Path::new("/proc/sys/kernel/random/boot_id"), 64);
    match id {
        Ok(id) if !id.is_empty() => fold(&id),
        Ok(_) | Err(_) => clock::now().as_nanos(),
    }
}

/// All bytes in one number (FNV-1a).
fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_boot_has_one_number() {
        assert_ne!(seed(), fold(b""));
        assert_eq!(seed(), seed());
        assert_ne!(fold(b"0e5e9c67"), fold(b"0e5e9c68"));
    }
}

//! Durations, amounts of memory and shares of a CPU: from text and back.
//!
//! Numbers are decimal and exact: no floating point, so that "0.1" is a tenth and two devices
//! read the same.

use core::fmt::Write as _;
use core::time::Duration;

/// What is wrong with a quantity, in words that stand beside the text.
pub(super) type Reason = &'static str;

/// The units of a duration with their length in nanoseconds, longest first.
const DURATION_UNITS: [(&str, u128); 4] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];

/// The suffixes of an amount of memory, as in Kubernetes.
const MEMORY_SUFFIXES: [(&str, u128); 9] = [
    ("", 1),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
];

/// Most memory that can be named: what the kernel's counters can hold.
pub(super) const MEMORY_MAX: u64 = i64::MAX.unsigned_abs();

/// Most CPU that can be named, in thousandths: far beyond any machine, and far from the end of
/// the numbers that sums and quotas are computed with.
pub(super) const CPU_MILLIS_MAX: u64 = 1_000_000;

/// Reads "500ms", "30s", "1m30s", "2h", "1.5s".
///
/// Every unit at most once, the longest first. Precision: a nanosecond.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Reason> {
    let mut rest = text;
    let mut nanos: u128 = 0;
    let mut units = DURATION_UNITS.iter();
    while !rest.is_empty() || text.is_empty() {
        let (number, after_number) = split_number(rest)?;
        let letters = after_number.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after_unit) = after_number.split_at_checked(letters).unwrap_or((after_number, ""));
        if unit.is_empty() {
            return Err(if after_number.is_empty() { "its unit is missing" } else { "not a unit" });
        }
        if !DURATION_UNITS.iter().any(|(name, _)| *name == unit) {
            return Err("not a unit");
        }
        // The iterator goes on behind the unit found before, hence the order.
        let Some((_, unit_nanos)) = units.find(|(name, _)| *name == unit) else {
            return Err("units out of order");
        };
        let part = number.times(*unit_nanos).ok_or("too large")?;
        nanos = nanos.checked_add(part).ok_or("too large")?;
        rest = after_unit;
    }
    let nanos = u64::try_from(nanos).map_err(|_| "too large")?;
    Ok(Duration::from_nanos(nanos))
}

/// Reads "64Mi", "1.5Gi", "128974848". Parts of a byte are rounded up, as Kubernetes does.
pub(super) fn parse_memory(text: &str) -> Result<u64, Reason> {
    let (number, suffix) = split_number(text)?;
    let Some((_, factor)) = MEMORY_SUFFIXES.iter().find(|(name, _)| *name == suffix) else {
        return Err(match suffix {
            "K" | "KB" | "kB" | "KiB" => "write `k` (1000) or `Ki` (1024)",
            "m" | "MB" | "mb" | "MiB" => "write `M` (1000²) or `Mi` (1024²)",
            "g" | "GB" | "gb" | "GiB" => "write `G` (1000³) or `Gi` (1024³)",
            _ => "not a suffix",
        });
    };
    let bytes = number.times(*factor).and_then(|bytes| u64::try_from(bytes).ok()).ok_or("more than 8 EiB")?;
    if bytes > MEMORY_MAX { Err("more than 8 EiB") } else { Ok(bytes) }
}

/// Reads "500m", "0.5", "2"; gives thousandths of a CPU.
pub(super) fn parse_cpu(text: &str) -> Result<u64, Reason> {
    let (number, suffix) = split_number(text)?;
    let factor = match suffix {
        "" => 1_000,
        "m" => 1,
        _ => return Err("not a suffix"),
    };
    if !number.is_whole_times(factor) {
        return Err("finer than a thousandth");
    }
    let millis =
        number.times(factor).and_then(|millis| u64::try_from(millis).ok()).ok_or("more than 1000 CPUs")?;
    if millis > CPU_MILLIS_MAX { Err("more than 1000 CPUs") } else { Ok(millis) }
}

/// Reads "0.1", "1"; gives thousandths, 0 to 1000.
pub(super) fn parse_fraction(text: &str) -> Result<u16, Reason> {
    let (number, "") = split_number(text)? else { return Err("not a number") };
    if !number.is_whole_times(1000) {
        return Err("finer than a thousandth");
    }
    let thousandths = number.times(1000).and_then(|thousandths| u16::try_from(thousandths).ok());
    thousandths.filter(|thousandths| *thousandths <= 1000).ok_or("more than 1")
}

/// A decimal number: `digits / 10^decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    digits: u128,
    scale: u128,
}

impl Number {
    /// The product, rounded up to a whole number. `None` if it is too large to be computed.
    fn times(self, factor: u128) -> Option<u128> {
        Some(self.digits.checked_mul(factor)?.div_ceil(self.scale))
    }

    fn is_whole_times(self, factor: u128) -> bool {
        self.digits.checked_mul(factor).is_none_or(|product| product % self.scale == 0)
    }
}

/// Splits the number off the front of `text`.
fn split_number(text: &str) -> Result<(Number, &str), Reason> {
    if text.is_empty() {
        return Err("empty");
    }
    if text.starts_with('-') {
        return Err("negative");
    }
    let number_end =
        text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(number_end).ok_or("not a number")?;
    if rest.starts_with(char::is_whitespace) || text.starts_with(char::is_whitespace) {
        return Err("no spaces here");
    }
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || decimals.is_empty() || decimals.contains('.') {
        return Err("not a number");
    }
    // 9 decimals: nanoseconds of a second. 20 digits: more than any u64.
    if decimals.len() > 9 {
        return Err("too many decimals");
    }
    if whole.len() > 20 {
        return Err("too large");
    }
    let mut digits: u128 = 0;
    for digit in whole.bytes().chain(decimals.bytes()) {
        digits = digits * 10 + u128::from(digit - b'0');
    }
    let scale = decimals.bytes().fold(1, |scale: u128, _| scale * 10);
    Ok((Number { digits, scale }, rest))
}

/// A duration as it would be written in a file: "1m30s".
pub(crate) fn write_duration(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    let mut text = String::new();
    for (unit, unit_nanos) in DURATION_UNITS {
        let whole = nanos / unit_nanos;
        nanos %= unit_nanos;
        let last = unit == "ms";
        if last && nanos > 0 {
            // Below a millisecond there is no unit, so there are decimals.
            let decimals = format!("{nanos:06}");
            let _ = write!(text, "{whole}.{}{unit}", decimals.trim_end_matches('0'));
        } else if whole > 0 {
            let _ = write!(text, "{whole}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// An amount of memory with the largest suffix that leaves no remainder: "64Mi".
pub(crate) fn write_memory(bytes: u64) -> String {
    for (suffix, shift) in [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
        if bytes > 0 && bytes % (1 << shift) == 0 {
            return format!("{}{suffix}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A share of a CPU: "500m", "2".
pub(crate) fn write_cpu(millis: u64) -> String {
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{millis}m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_read() {
        for (text, thousandths) in
            [("0", Ok(0)), ("0.1", Ok(100)), ("0.125", Ok(125)), ("1", Ok(1000)), ("1.0", Ok(1000))]
        {
            assert_eq!(parse_fraction(text), thousandths, "{text}");
        }
        for text in ["1.001", "0.0001", "10%", "-0.1", "70000", ""] {
            assert!(parse_fraction(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read() {
        let cases = [
            ("500ms", 500_000_000),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("2h", 7_200_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0s", 0),
            ("1h2m3s4ms", 3_723_004_000_000),
            ("0.5ms", 500_000),
            ("5124095h", 18_446_742_000_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        let cases = [
            ("", "empty"),
            ("30", "its unit is missing"),
            ("-1s", "negative"),
            ("1 s", "no spaces here"),
            (" 1s", "no spaces here"),
            ("30s1m", "units out of order"),
            ("1s1s", "units out of order"),
            ("1d", "not a unit"),
            ("1S", "not a unit"),
            ("1s!", "not a number"),
            ("1!", "not a unit"),
            ("s", "not a number"),
            (".5s", "not a number"),
            ("1.s", "not a number"),
            ("1.2.3s", "not a number"),
            ("0.0000000001s", "too many decimals"),
            ("99999999999999999999999s", "too large"),
            ("99999999999999999999h", "too large"),
            ("٣s", "not a number"),
        ];
        for (text, reason) in cases {
            assert_eq!(parse_duration(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn memory_is_read_as_in_kubernetes() {
        let cases = [
            ("128974848", Ok(128_974_848)),
            ("0", Ok(0)),
            ("64Mi", Ok(64 << 20)),
            ("1.5Gi", Ok(3 << 29)),
            ("129M", Ok(129_000_000)),
            ("1k", Ok(1000)),
            ("0.1Ki", Ok(103)),
            ("9223372036854775807", Ok(MEMORY_MAX)),
            ("9223372036854775808", Err("more than 8 EiB")),
            ("99999999999999999999Ti", Err("more than 8 EiB")),
            ("64MB", Err("write `M` (1000²) or `Mi` (1024²)")),
            ("64m", Err("write `M` (1000²) or `Mi` (1024²)")),
            ("1K", Err("write `k` (1000) or `Ki` (1024)")),
            ("1e3", Err("not a suffix")),
            ("-1", Err("negative")),
            ("lots", Err("not a number")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_memory(text), expected, "{text}");
        }
    }

    #[test]
    fn cpu_is_read_in_thousandths() {
        let cases = [
            ("500m", Ok(500)),
            ("0.5", Ok(500)),
            ("2", Ok(2000)),
            ("0.001", Ok(1)),
            ("0", Ok(0)),
            ("0.0005", Err("finer than a thousandth")),
            ("0.5m", Err("finer than a thousandth")),
            ("1001", Err("more than 1000 CPUs")),
            ("99999999999999999999", Err("more than 1000 CPUs")),
            ("2 cores", Err("no spaces here")),
            ("50%", Err("not a suffix")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_cpu(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for nanos in [0, 1, 999_999, 1_500_000, 500_000_000, 90_000_000_000, 7_200_000_000_001] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(&write_duration(duration)), Ok(duration), "{duration:?}");
        }
        for bytes in [0, 1, 1023, 1024, 64 << 20, 3 << 29, 1_000_000, 5 << 40] {
            assert_eq!(parse_memory(&write_memory(bytes)), Ok(bytes));
        }
        for millis in [0, 1, 500, 1000, 1500] {
            assert_eq!(parse_cpu(&write_cpu(millis)), Ok(millis));
        }
        assert_eq!(write_duration(Duration::from_secs(300)), "5m");
        assert_eq!(write_memory(64 << 20), "64Mi");
        assert_eq!(write_cpu(1500), "1500m");
    }
}

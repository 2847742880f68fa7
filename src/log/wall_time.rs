//! The time of day as log lines show it: always UTC, so that lines of several devices, or from
//! before and after a change of the time zone, can be put side by side.

/// Days from 0000-03-01 to 1970-01-01. Years are counted from March here: the leap day is then
/// the last day of its year, and the lengths of the months before it never change.
const DAYS_FROM_YEAR_ZERO: u64 = 719_468;

/// 9999-12-31T23:59:59, the last second that RFC 3339 can write.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Days of the months from March to February; the last one as in a leap year.
const MONTH_DAYS: [u64; 12] = [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29];

/// A point on the wall clock. Range: 1970-01-01 to 9999-12-31, by nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime {
    seconds: u64,
    nanos: u32,
}

impl WallTime {
    /// `seconds` and `nanos` after 1970-01-01T00:00:00Z, without leap seconds (POSIX time).
    /// Beyond the range it is the last moment of the range.
    pub fn new(seconds: u64, nanos: u32) -> WallTime {
        match seconds {
            0..=SECONDS_MAX => WallTime { seconds, nanos: nanos.min(999_999_999) },
            _ => WallTime { seconds: SECONDS_MAX, nanos: 999_999_999 },
        }
    }

    /// Appends `2026-11-24T03:44:31.123456789Z`: RFC 3339, always nine digits, so that the lines
    /// of a file sort as text and the column has one width.
    pub fn push_rfc3339(self, out: &mut Vec<u8>) {
        let (year, month, day) = civil_date(self.seconds / 86_400);
        push_digits(out, year, 4);
        out.push(b'-');
        push_digits(out, month, 2);
        out.push(b'-');
        push_digits(out, day, 2);
        out.push(b'T');
        self.push_clock(out);
        push_digits(out, u64::from(self.nanos), 9);
        out.push(b'Z');
    }

    /// Appends `03:44:31.123`.
    pub fn push_time_of_day(self, out: &mut Vec<u8>) {
        self.push_clock(out);
        push_digits(out, u64::from(self.nanos / 1_000_000), 3);
    }

    fn push_clock(self, out: &mut Vec<u8>) {
        let second_of_day = self.seconds % 86_400;
        push_digits(out, second_of_day / 3600, 2);
        out.push(b':');
        push_digits(out, second_of_day / 60 % 60, 2);
        out.push(b':');
        push_digits(out, second_of_day % 60, 2);
        out.push(b'.');
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let mut rest = days + DAYS_FROM_YEAR_ZERO;
    let mut year = 0;
    // 400, 100, 4 years and 1 year with their days. Four centuries are one day longer than four
    // times one, and four years one day longer than four times one: hence the bounds of three.
    for (years, length, most) in [(400, 146_097, u64::MAX), (100, 36_524, 3), (4, 1461, 24), (1, 365, 3)] {
        let count = most.min(rest / length);
        rest -= count * length;
        year += count * years;
    }
    let mut month = 3;
    for length in MONTH_DAYS {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    // January and February belong to the year that began in the March before.
    if month > 12 { (year + 1, month - 12, rest + 1) } else { (year, month, rest + 1) }
}

/// Appends the last `width` digits of `value`, with zeros in front.
fn push_digits(out: &mut Vec<u8>, value: u64, width: u32) {
    for place in (0..width).rev() {
        // A digit is below ten.
        let digit = u8::try_from(value / 10_u64.pow(place) % 10).unwrap_or(0);
        out.push(b'0' + digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc3339(seconds: u64, nanos: u32) -> String {
        let mut out = Vec::new();
        WallTime::new(seconds, nanos).push_rfc3339(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_written_as_rfc_3339() {
        // Seconds as `date --utc --date=TIME +%s` gives them.
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (86_399, 999_999_999, "1970-01-01T23:59:59.999999999Z"),
            (68_169_599, 0, "1972-02-28T23:59:59.000000000Z"),
            (68_169_600, 0, "1972-02-29T00:00:00.000000000Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000000Z"),
            (978_220_800, 0, "2000-12-31T00:00:00.000000000Z"),
            (978_307_200, 0, "2001-01-01T00:00:00.000000000Z"),
            (1_795_491_871, 123_456_789, "2026-11-24T03:44:31.123456789Z"),
            (2_147_483_648, 7, "2038-01-19T03:14:08.000000007Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
            (13_574_563_200, 0, "2400-02-29T00:00:00.000000000Z"),
            (253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
        ];
        for (seconds, nanos, text) in cases {
            assert_eq!(rfc3339(seconds, nanos), text);
        }
    }

    #[test]
    fn moments_beyond_the_range_are_its_end() {
        assert_eq!(rfc3339(253_402_300_800, 0), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339(u64::MAX, u32::MAX), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339(0, u32::MAX), "1970-01-01T00:00:00.999999999Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil_date(0);
        assert_eq!(before, (1970, 1, 1));
        for days in 1..=SECONDS_MAX / 86_400 {
            let (year, month, day) = civil_date(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            let length = |month| match month {
                2 => february,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match before {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == length(m) => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((year, month, day), expected);
            before = expected;
        }
        assert_eq!(before, (9999, 12, 31));
    }

    #[test]
    fn the_time_of_day_has_milliseconds() {
        let mut out = Vec::new();
        WallTime::new(1_795_491_871, 123_999_999).push_time_of_day(&mut out);
        assert_eq!(out, b"03:44:31.123");
    }
}

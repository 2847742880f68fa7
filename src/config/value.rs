//! Values with a meaning of their own: names, paths, addresses, commands, quantities.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use toml::de::DeValue;

use super::problem::{ProblemList, printable};
use super::quantity::{self, Reason, write_duration};
use super::reader::Field;
use crate::limits::{DURATION_MAX, NAME_MAX, WORDS_MAX};

/// Bytes of a path that the kernel takes, without the NUL at its end (`PATH_MAX`, limits.h).
const PATH_BYTES_MAX: usize = 4095;

/// Shortest duration where zero makes no sense. Nothing here is measured more finely.
pub(super) const INSTANT_MIN: Duration = Duration::from_millis(1);

impl<'t> Field<'t> {
    /// A name that can be a directory, a cgroup, a host name and part of a container id: an RFC
    /// 1123 label, as Kubernetes wants it.
    ///
    /// Gives the text even if it is no good name, so that references to it are not dangling too.
    pub(super) fn name(&self, problems: &mut ProblemList<'_>) -> Option<&'t str> {
        const RULE: &str =
            "use a-z, 0-9 and `-`, beginning and ending with a letter or digit (RFC 1123 label)";
        let name = self.string(problems, RULE)?;
        let wrong = name
            .char_indices()
            .find(|&(_, letter)| !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'));
        let label = if name.is_empty() {
            "empty".to_owned()
        } else if let Some((_, letter)) = wrong {
            let letter = if printable(letter) == letter {
                format!("`{letter}`")
            } else {
                format!("U+{:04X}", u32::from(letter))
            };
            format!("{letter} is not possible in a name")
        } else if name.len() > NAME_MAX {
            format!("{} characters; at most {NAME_MAX} are possible", name.len())
        } else if name.starts_with('-') || name.ends_with('-') {
            "begins or ends with `-`".to_owned()
        } else {
            return Some(name);
        };
        self.refuse(problems, "must be a DNS label (RFC 1123)", &label, RULE);
        Some(name)
    }

    /// A path on the host, from its root.
    pub(super) fn host_path(&self, problems: &mut ProblemList<'_>) -> Option<&'t str> {
        const HELP: &str = "write the whole path from the root, such as \"/srv/app\"";
        let path = self.string(problems, HELP)?;
        if !path.starts_with('/') {
            self.refuse(problems, "must be an absolute path", "does not begin with `/`", HELP);
            return None;
        }
        if path.len() > PATH_BYTES_MAX {
            let help = format!("the kernel takes at most {PATH_BYTES_MAX} bytes");
            self.refuse(problems, "is too long for a path", &format!("{} bytes", path.len()), &help);
            return None;
        }
        Some(path)
    }

    /// A path inside a container, from its root; given back without needless slashes and dots,
    /// so that equal paths are equal texts.
    pub(super) fn container_path(&self, problems: &mut ProblemList<'_>) -> Option<String> {
        let path = self.host_path(problems)?;
        if path.split('/').any(|part| part == "..") {
            let help = "write where the path leads, without `..`";
            self.refuse(problems, "must not go upwards", "has `..`", help);
            return None;
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        Some(format!("/{}", parts.join("/")))
    }

    /// A command or arguments: a list of strings.
    pub(super) fn words(&self, problems: &mut ProblemList<'_>) -> Vec<String> {
        const HELP: &str =
            "write each word as a string of its own: [\"/bin/app\", \"--verbose\"]; no shell splits it";
        self.list(WORDS_MAX, problems, HELP)
            .iter()
            .filter_map(|word| word.string(problems, "write it in quotes").map(str::to_owned))
            .collect()
    }

    /// A command: words, and at least one.
    pub(super) fn command(&self, problems: &mut ProblemList<'_>) -> Vec<String> {
        let words = self.words(problems);
        let empty = match self.value.get_ref().as_array() {
            Some(array) => array.first().is_none_or(|first| first.get_ref().as_str() == Some("")),
            None => false,
        };
        if empty {
            let help = "the first entry is the program: [\"/bin/app\"]";
            self.refuse(problems, "names no program", "its first entry is empty or missing", help);
        }
        words
    }

    /// A duration in a range.
    pub(super) fn duration(&self, min: Duration, problems: &mut ProblemList<'_>) -> Option<Duration> {
        const HELP: &str =
            "write a number with a unit (h, m, s, ms) in quotes: \"500ms\", \"30s\", \"1m30s\", \"2h\"";
        if matches!(self.value.get_ref(), DeValue::Integer(_) | DeValue::Float(_)) {
            self.refuse(problems, "must be a duration", "its unit is missing", HELP);
            return None;
        }
        let text = self.string(problems, HELP)?;
        let range = || format!("possible: {} to 10 years", write_duration(min));
        match quantity::parse_duration(text) {
            Err(reason) => self.refuse(problems, "is not a duration", reason, HELP),
            Ok(duration) if duration > DURATION_MAX => {
                self.refuse(problems, "is too long", "more than 10 years", &range())
            }
            Ok(duration) if duration.is_zero() && !min.is_zero() => {
                self.refuse(problems, "must not be zero", "no time at all", &range());
            }
            Ok(duration) if duration < min => {
                let label = format!("less than {}", write_duration(min));
                self.refuse(problems, "is too short", &label, &range());
            }
            Ok(duration) => return Some(duration),
        }
        None
    }

    /// An amount of memory in bytes.
    pub(super) fn memory(&self, problems: &mut ProblemList<'_>) -> Option<u64> {
        const HELP: &str = "write bytes, or a number with a suffix (k, M, G, T, Ki, Mi, Gi, Ti) in \
                            quotes: \"64Mi\", \"1.5Gi\"";
        self.quantity(problems, "an amount of memory", quantity::parse_memory, HELP)
    }

    /// A share of CPUs in thousandths.
    pub(super) fn cpu(&self, problems: &mut ProblemList<'_>) -> Option<u64> {
        const HELP: &str = "write CPUs or thousandths of one: 2, 0.5, \"500m\"; at most 1000 CPUs";
        self.quantity(problems, "a number of CPUs", quantity::parse_cpu, HELP)
    }

    /// A part of one, in thousandths of it.
    pub(super) fn fraction(&self, problems: &mut ProblemList<'_>) -> Option<u16> {
        const HELP: &str = "write a number from 0 to 1 with at most three decimals, without quotes: 0.1";
        let text = match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.refuse_type(problems, "a number from 0 to 1", HELP);
                return None;
            }
        };
        match quantity::parse_fraction(text) {
            Ok(thousandths) => Some(thousandths),
            Err(reason) => {
                self.refuse(problems, "is not a number from 0 to 1", reason, HELP);
                None
            }
        }
    }

    /// Numbers are taken in quotes or without; both are read from their text.
    fn quantity(
        &self,
        problems: &mut ProblemList<'_>,
        what: &str,
        parse: fn(&str) -> Result<u64, Reason>,
        help: &str,
    ) -> Option<u64> {
        let text = match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            DeValue::String(text) => text,
            DeValue::Integer(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.refuse_type(problems, what, help);
                return None;
            }
        };
        match parse(text) {
            Ok(amount) => Some(amount),
            Err(reason) => {
                self.refuse(problems, &format!("is not {what}"), reason, help);
                None
            }
        }
    }

    /// Where a probe connects to: an address, since looking up a name could block.
    pub(super) fn host(&self, problems: &mut ProblemList<'_>) -> Option<IpAddr> {
        const HELP: &str =
            "write an address, \"127.0.0.1\" or \"::1\": looking up a name could block every other probe";
        let text = self.string(problems, HELP)?;
        if text == "localhost" {
            return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let address = text.parse().ok();
        if address.is_none() {
            self.refuse(problems, "must be an IP address or \"localhost\"", "names are not looked up", HELP);
        }
        address
    }
}

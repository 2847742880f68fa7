//! Ports of a container: numbers, and names for them.

use super::nearest::nearest;
use super::problem::{ProblemList, quote};
use super::reader::{Field, TableKind};
use crate::limits::LIST_MAX;

pub(super) const PORT: TableKind = TableKind { name: "a port", keys: &["name", "container-port"] };

/// Characters of a port's name (RFC 6335, section 5.1; Kubernetes: the same).
const PORT_NAME_MAX: usize = 15;

const NUMBER_HELP: &str = "add the number of the port: port = 8080";

/// The ports of one container that have a name.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// 0 for a port whose number cannot be read.
    named: Vec<(String, u16)>,
}

impl Ports {
    /// Reads `ports`. What is wrong is told once; whoever uses such a port is not told again.
    pub(super) fn read(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Ports {
        const HELP: &str = "write [{ name = \"http\", container-port = 8080 }]";
        let mut ports = Ports::default();
        let entries = field.map(|field| field.list(LIST_MAX, problems, HELP)).unwrap_or_default();
        let mut places: Vec<(&str, Field<'_>)> = Vec::new();
        for entry in entries {
            let Some(mut table) = entry.table(PORT, problems) else { continue };
            let name = table.take_required("name", problems, "add name = \"http\", for probes to refer to");
            let help = "add container-port = 8080";
            let number = table.take_required("container-port", problems, help);
            table.finish(problems);
            let number = number.and_then(|field| read_number(field, problems)).unwrap_or(0);
            let Some((field, text)) = name.and_then(|field| Some((field, read_name(field, problems)?)))
            else {
                continue;
            };
            if let Some((_, first)) = places.iter().find(|(other, _)| *other == text) {
                let also = problems.place(&first.at(), "the first one");
                let message = format!("two ports have the name {}", quote(text));
                problems.add_pair(&field.at(), message, "the same again", also, "rename one of the two");
            } else {
                places.push((text, field));
                ports.named.push((text.to_owned(), number));
            }
        }
        ports
    }

    /// The number of a `port`, by number or by name.
    pub(super) fn number(&self, field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<u16> {
        let Some(name) = field.value.get_ref().as_str() else { return read_number(field, problems) };
        if let Some((_, number)) = self.named.iter().find(|(known, _)| known == name) {
            return Some(*number);
        }
        let known: Vec<&str> = self.named.iter().map(|(name, _)| name.as_str()).collect();
        let help = match (nearest(name, &known), known.as_slice()) {
            (Some(similar), _) => format!("did you mean \"{similar}\"? its ports are: {}", known.join(", ")),
            (None, []) => {
                "add ports = [{ name = \"http\", container-port = 8080 }] to the container, or write \
                           the number without quotes"
                    .to_owned()
            }
            (None, _) => format!("its ports are: {}; or write the number without quotes", known.join(", ")),
        };
        field.refuse(problems, "is no port of this container", "not in its `ports`", &help);
        None
    }

    /// The number of a `port` that has to be there.
    pub(super) fn required(
        &self,
        table: &mut super::reader::Table<'_>,
        problems: &mut ProblemList<'_>,
    ) -> Option<u16> {
        let field = table.take_required("port", problems, NUMBER_HELP)?;
        self.number(field, problems)
    }
}

pub(super) fn read_number(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<u16> {
    field.integer(1, u32::from(u16::MAX), problems).and_then(|port| u16::try_from(port).ok())
}

fn read_name<'t>(field: Field<'t>, problems: &mut ProblemList<'_>) -> Option<&'t str> {
    const RULE: &str = "use a-z, 0-9 and single `-` between them, at least one letter, at most 15 characters";
    let name = field.string(problems, RULE)?;
    let possible = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = !name.is_empty()
        && name.len() <= PORT_NAME_MAX
        && name.bytes().all(possible)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if !good {
        field.refuse(problems, "must be the name of a service (RFC 6335)", "not possible as a name", RULE);
    }
    good.then_some(name)
}

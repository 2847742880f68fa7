//! Reading tables key by key, with a problem for everything that is not as it should be.
//!
//! serde stops at its first error. Here each reader takes the keys that it knows from a
//! [`Table`], says what is wrong with a value and goes on with a stand-in; whatever is left in the
//! table at the end is an unknown key. A stand-in never gets out: a plan is only made when there
//! was no problem at all.

use core::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::nearest::nearest;
use super::problem::{ProblemList, quote};

/// A kind of table: what it is called in messages, and every key that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableKind {
    /// With its article: "a probe".
    pub name: &'static str,
    /// In the order in which documentation lists them.
    pub keys: &'static [&'static str],
}

/// A table from which keys are taken.
pub(super) struct Table<'t> {
    kind: TableKind,
    /// The header, the braces, or the key that made it.
    pub(super) at: Range<usize>,
    /// What was not taken yet, in the order of the file.
    entries: Vec<(&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)>,
}

/// A value and the key that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Field<'t> {
    pub(super) key: &'t str,
    pub(super) value: &'t Spanned<DeValue<'t>>,
    /// Whether it is an entry of the list that the key has.
    in_list: bool,
}

impl<'t> Table<'t> {
    pub(super) fn new(kind: TableKind, at: Range<usize>, table: &'t DeTable<'t>) -> Table<'t> {
        Table { kind, at, entries: in_file_order(table) }
    }

    /// The value of a key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'t>> {
        debug_assert!(
            self.kind.keys.contains(&key),
            "`{key}` is not listed in the keys of {}",
            self.kind.name
        );
        let position = self.entries.iter().position(|(found, _)| found.get_ref() == key)?;
        let (_, value) = self.entries.remove(position);
        Some(Field { key, value, in_list: false })
    }

    /// The value of a key that must be there.
    pub(super) fn take_required(
        &mut self,
        key: &'static str,
        problems: &mut ProblemList<'_>,
        help: &str,
    ) -> Option<Field<'t>> {
        let field = self.take(key);
        if field.is_none() && !self.has_misspelt(key) {
            let message = format!("{} needs `{key}`", self.kind.name);
            problems.add_structural(&self.at, message, "it is missing here", help);
        }
        field
    }

    /// The one key of several of which exactly one must be there.
    pub(super) fn take_one_of(
        &mut self,
        keys: &[&'static str],
        problems: &mut ProblemList<'_>,
    ) -> Option<Field<'t>> {
        let found: Vec<Field<'t>> = keys.iter().filter_map(|&key| self.take(key)).collect();
        let list = or_list(keys);
        match found.as_slice() {
            [] if keys.iter().any(|key| self.has_misspelt(key)) => {}
            [] => {
                let message = format!("{} needs one of {list}", self.kind.name);
                problems.add_structural(&self.at, message, "none is here", "add the one that fits");
            }
            [_] => {}
            [first, .., last] => {
                let message = format!("{} has only one of {list}", self.kind.name);
                let also = problems.place(&first.value.span(), "the first one");
                problems.add_pair(
                    &last.value.span(),
                    message,
                    "one too many",
                    also,
                    "keep the one that fits",
                );
            }
        }
        found.into_iter().next()
    }

    /// Whether a key that nobody knows is probably this one. Then it is told as unknown, and not
    /// as missing too.
    fn has_misspelt(&self, key: &str) -> bool {
        self.entries.iter().any(|(found, _)| self.similar(found.get_ref()) == Some(key))
    }

    /// The known key that was probably meant by an unknown one.
    fn similar(&self, key: &str) -> Option<&'static str> {
        if self.kind.keys.contains(&key) { None } else { nearest(&without_unit(key), self.kind.keys) }
    }

    /// Everything left is a key that nobody knows.
    pub(super) fn finish(self, problems: &mut ProblemList<'_>) {
        for (key, _) in &self.entries {
            let name = key.get_ref();
            let help = match self.similar(name) {
                Some(similar) => format!("a key with a similar name exists: `{similar}`"),
                None => format!("the keys of {} are: {}", self.kind.name, self.kind.keys.join(", ")),
            };
            let message = format!("unknown key {} in {}", quote(name), self.kind.name);
            problems.add_structural(&key.span(), message, "not a key here", &help);
        }
    }
}

impl<'t> Field<'t> {
    pub(super) fn at(&self) -> Range<usize> {
        self.value.span()
    }

    /// How it is called in messages.
    pub(super) fn noun(&self) -> String {
        if self.in_list { format!("an entry of {}", quote(self.key)) } else { quote(self.key) }
    }

    /// A problem about this value.
    pub(super) fn refuse(&self, problems: &mut ProblemList<'_>, says: &str, label: &str, help: &str) {
        problems.add(&self.at(), format!("{} {says}", self.noun()), label, help);
    }

    /// The value has the wrong type.
    pub(super) fn refuse_type(&self, problems: &mut ProblemList<'_>, wanted: &str, help: &str) {
        let label = type_name(self.value.get_ref());
        self.refuse(problems, &format!("must be {wanted}"), &format!("this is {label}"), help);
    }

    /// A table of the given kind.
    pub(super) fn table(&self, kind: TableKind, problems: &mut ProblemList<'_>) -> Option<Table<'t>> {
        let table = self.any_table(problems, &format!("its keys are: {}", kind.keys.join(", ")))?;
        Some(Table::new(kind, self.at(), table))
    }

    /// A table whose keys the user chooses, in the order of the file.
    pub(super) fn open_table(
        &self,
        problems: &mut ProblemList<'_>,
        help: &str,
    ) -> Vec<(Spanned<&'t str>, Field<'t>)> {
        let Some(table) = self.any_table(problems, help) else { return Vec::new() };
        in_file_order(table)
            .into_iter()
            .map(|(key, value)| {
                let name: &'t str = key.get_ref();
                (Spanned::new(key.span(), name), Field { key: name, value, in_list: false })
            })
            .collect()
    }

    fn any_table(&self, problems: &mut ProblemList<'_>, help: &str) -> Option<&'t DeTable<'t>> {
        let table = self.value.get_ref().as_table();
        if table.is_none() {
            self.refuse_type(problems, "a table", help);
        }
        table
    }

    /// The entries of a list. Past `max` they are refused together and not read.
    pub(super) fn list(&self, max: usize, problems: &mut ProblemList<'_>, help: &str) -> Vec<Field<'t>> {
        let Some(array) = self.value.get_ref().as_array() else {
            self.refuse_type(problems, "a list", help);
            return Vec::new();
        };
        if let Some(first) = array.get(max) {
            let message = format!("{} has {} entries", quote(self.key), array.len());
            let label = format!("the first of {} too many", array.len() - max);
            problems.add(&first.span(), message, &label, &format!("at most {max} entries are possible"));
        }
        array.iter().take(max).map(|value| Field { key: self.key, value, in_list: true }).collect()
    }

    /// A string without NUL, which no path, argument or name can carry (C strings end there).
    pub(super) fn string(&self, problems: &mut ProblemList<'_>, help: &str) -> Option<&'t str> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.refuse_type(problems, "a string", help);
            return None;
        };
        if text.contains('\0') {
            let help = "remove the `\\u0000`: Linux ends every path, argument and variable there";
            self.refuse(problems, "has a NUL character", "not possible in a string", help);
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&self, problems: &mut ProblemList<'_>) -> Option<bool> {
        let boolean = self.value.get_ref().as_bool();
        if boolean.is_none() {
            self.refuse_type(problems, "true or false", "write it without quotes: true or false");
        }
        boolean
    }

    /// A whole number in a range.
    pub(super) fn integer(&self, min: u32, max: u32, problems: &mut ProblemList<'_>) -> Option<u32> {
        let help = format!("a whole number from {min} to {max} is possible, written without quotes");
        let Some(number) = self.value.get_ref().as_integer() else {
            self.refuse_type(problems, "a whole number", &help);
            return None;
        };
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let in_range = number.filter(|number| (min..=max).contains(number));
        if in_range.is_none() {
            self.refuse(problems, "is out of range", &format!("not from {min} to {max}"), &help);
        }
        in_range
    }

    /// One of the words that have a meaning here.
    pub(super) fn choice<T: Copy>(
        &self,
        choices: &[(&'static str, T)],
        problems: &mut ProblemList<'_>,
    ) -> Option<T> {
        let words: Vec<&'static str> = choices.iter().map(|(word, _)| *word).collect();
        let allowed = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let allowed = format!("possible: {allowed}");
        let text = self.string(problems, &allowed)?;
        let choice = choices.iter().find(|(word, _)| *word == text);
        if choice.is_none() {
            let help = match nearest(text, &words) {
                Some(similar) => format!("did you mean \"{similar}\"? {allowed}"),
                None => allowed,
            };
            self.refuse(problems, &format!("cannot be {}", quote(text)), "not a known value", &help);
        }
        choice.map(|(_, value)| *value)
    }
}

/// The name that a key of Kubernetes has here: `periodSeconds` is `period`.
fn without_unit(key: &str) -> String {
    let mut kebab = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab.strip_suffix("-seconds").map(str::to_owned).unwrap_or(kebab)
}

/// toml keeps tables sorted by key; what the user sees is the order of the file.
fn in_file_order<'t>(table: &'t DeTable<'t>) -> Vec<(&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// "`a`, `b` or `c`".
fn or_list(keys: &[&str]) -> String {
    match keys {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [rest @ .., last] => format!("`{}` or `{last}`", rest.join("`, `")),
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

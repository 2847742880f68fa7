//! The known word that somebody most likely meant.

/// The word of `known` that is nearest to `word`, if one is near enough to be worth a hint.
///
/// Near enough: at most one edit in three characters (insert, drop, replace, or swap two
/// neighbours), upper and lower case being the same. Of equally near words the first is taken.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = letters(word)?;
    let mut best: Option<(usize, &'k str)> = None;
    for &candidate in known {
        let Some(letters) = letters(candidate) else { continue };
        let edits = distance(&word, &letters);
        let allowed = (word.len().max(letters.len()) / 3).max(1);
        let nearer = best.is_none_or(|(least, _)| edits < least);
        if edits <= allowed && edits < word.len() && nearer {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Characters (of up to 4 bytes). Longer words are not compared: the work grows with the square.
const LETTERS_MAX: usize = 64;

fn letters(word: &str) -> Option<Vec<char>> {
    let short = word.len() <= LETTERS_MAX * 4;
    let letters: Vec<char> = word.chars().take(LETTERS_MAX + 1).flat_map(char::to_lowercase).collect();
    (short && letters.len() <= LETTERS_MAX).then_some(letters)
}

/// Edits between two words: Damerau and Levenshtein's distance in its restricted form (optimal
/// string alignment), kept in three rows of the usual table.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut above: Option<char> = None;
    for (row, &left) in from.iter().enumerate() {
        let mut current = Vec::with_capacity(to.len() + 1);
        current.push(row + 1);
        let mut previous: Option<char> = None;
        for (column, &top) in to.iter().enumerate() {
            let at = |cells: &[usize], column: usize| cells.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column) + usize::from(left != top);
            let dropped = at(&last, column + 1) + 1;
            let inserted = at(&current, column) + 1;
            let mut edits = replaced.min(dropped).min(inserted);
            if above == Some(top) && previous == Some(left) && column > 0 {
                edits = edits.min(at(&before_last, column - 1) + 1);
            }
            current.push(edits);
            previous = Some(top);
        }
        above = Some(left);
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(from.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_word_is_found_and_a_strange_one_is_not() {
        let known = ["name", "restart-policy", "rootfs", "period", "port", "args"];
        let cases = [
            ("nmae", Some("name")),
            ("Name", Some("name")),
            ("restart_policy", Some("restart-policy")),
            ("rootf", Some("rootfs")),
            ("peroid", Some("period")),
            ("prot", Some("port")),
            ("arg", Some("args")),
            ("image", None),
            ("x", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }

    #[test]
    fn an_endless_word_is_not_compared() {
        assert_eq!(nearest(&"a".repeat(1 << 20), &["a"]), None);
    }

    #[test]
    fn a_swap_counts_as_one_edit() {
        let letters = |word: &str| word.chars().collect::<Vec<_>>();
        assert_eq!(distance(&letters("form"), &letters("from")), 1);
        assert_eq!(distance(&letters("kitten"), &letters("sitting")), 3);
        assert_eq!(distance(&letters(""), &letters("abc")), 3);
    }
}

//! `$(NAME)` in commands, arguments and variables, as Kubernetes replaces it.

/// `text` with every `$(NAME)` replaced by the variable's value; `$$` becomes `$`, so `$$(NAME)`
/// stands for the text `$(NAME)`. What names no variable stays as it is.
///
/// `None` when the result has more than `bytes_max` bytes.
pub(super) fn expand(text: &str, variables: &[(String, String)], bytes_max: usize) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(behind) = after.strip_prefix('$') {
            out.push('$');
            rest = behind;
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = behind;
        } else {
            out.push('$');
            rest = after;
        }
        if out.len() > bytes_max {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= bytes_max).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_as_in_kubernetes() {
        let variables = [("HOST", "db"), ("PORT", "5432"), ("EMPTY", ""), ("TRICKY", "$(HOST)")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let cases = [
            ("$(HOST):$(PORT)", "db:5432"),
            ("$(EMPTY)", ""),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(HOST)", "$(HOST)"),
            ("$$$(HOST)", "$db"),
            ("$$$$(HOST)", "$$(HOST)"),
            ("$(TRICKY)", "$(HOST)"),
            ("$HOST ${HOST}", "$HOST ${HOST}"),
            ("$(HOST", "$(HOST"),
            ("$()", "$()"),
            ("5$", "5$"),
            ("$ä", "$ä"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &variables, 100).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_result_beyond_the_bound_is_refused() {
        let variables = [("A".to_owned(), "x".repeat(10))];
        assert_eq!(expand("$(A)$(A)", &variables, 20).map(|text| text.len()), Some(20));
        assert_eq!(expand("$(A)$(A)", &variables, 19), None);
        assert_eq!(expand("$(A)$(A)tail", &variables, 20), None);
    }
}

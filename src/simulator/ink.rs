//! What a chart is drawn with: looks, lengths, escaped text, shapes that occur more than once.

use core::fmt;

use super::axis::Tenths;

/// Looks of everything, by class.
pub(super) const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2933;\
paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}\
.t{font-size:18px;font-weight:700}.p{font-size:15px;font-weight:700}.c{font-size:13px;font-weight:600}\
.s{font-weight:400;fill:#52606d}.n{font-size:12px;fill:#52606d}.e{font-size:11px;font-weight:600}\
.f{fill:#b42318}.a{stroke:#d5dae0;fill:none}.g{stroke:#7b8794;fill:none;stroke-dasharray:3 2}\
.w{stroke:#b42318;fill:none;stroke-width:2.4}.o{stroke:#3f9a68;fill:none}.h{fill:#f0f2f5}\
.k{stroke:#fff;stroke-width:5;fill:none}.l{stroke:#7b8794;fill:none}\
.creating{fill:#aab2bd}.running{fill:#8fbdeb}.ready{fill:#2f8f5b}.stopping{fill:url(#stopping)}\
.removing{fill:#d5dae0}.back-off{stroke:#7b8794;stroke-width:2.5;stroke-dasharray:2 3;fill:none}\
.crowded{fill:url(#crowded)}.hook{fill:#6b46c1}.hook-failed{fill:#b42318}.term{fill:#9a3412}.kill{stroke:#fff;stroke-width:5.5;fill:none}\
.kill2{stroke:#b42318;stroke-width:2.6;fill:none}";

/// What fills what is hatched.
pub(super) const PATTERNS: &str = "\
<defs>\
<pattern id=\"stopping\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect width=\"6\" height=\"6\" fill=\"#fbd38d\"/><rect width=\"2.4\" height=\"6\" fill=\"#c05621\"/></pattern>\
<pattern id=\"crowded\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
<rect width=\"4\" height=\"4\" fill=\"#e4e7eb\"/><rect width=\"2\" height=\"4\" fill=\"#52606d\"/></pattern>\
</defs>";

pub(super) fn triangle(place: Tenths, top: Tenths) -> String {
    format!("<path class=\"term\" d=\"M{} {}l-5 -10h10z\"/>", Px(place), Px(top))
}

pub(super) fn cross(place: Tenths, middle: Tenths) -> String {
    let (left, top) = (Px(place.saturating_sub(45)), Px(middle.saturating_sub(45)));
    let strokes = format!("M{left} {top}l9 9m0 -9l-9 9");
    format!("<path class=\"kill\" d=\"{strokes}\"/><path class=\"kill2\" d=\"{strokes}\"/>")
}

/// Lines of at most `width` characters, broken at blanks.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

/// A length in units.
pub(super) struct Px(pub(super) Tenths);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenths => write!(f, "{}.{tenths}", self.0 / 10),
        }
    }
}

/// Text between tags, or in an attribute. XML cannot have control characters at all.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                character if character.is_control() => f.write_str("\u{fffd}")?,
                character => fmt::Write::write_char(f, character)?,
            }
        }
        Ok(())
    }
}

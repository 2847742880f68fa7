//! The CRI log format, which log shippers and `kubectl logs` parse (Kubernetes, `kuberuntime/logs`):
//! `<RFC 3339 time> <stdout|stderr> <F|P> <text>`. `F` ends a line; `P` says that the line goes on
//! in the next entry of the same stream.

use super::line::Piece;
use super::stream::Standard;
use super::wall_time::WallTime;

/// Appends one entry. The text stays as it is, whatever its bytes.
pub fn push_entry(out: &mut Vec<u8>, time: WallTime, standard: Standard, piece: Piece<'_>) {
    time.push_rfc3339(out);
    out.push(b' ');
    out.extend_from_slice(standard.name().as_bytes());
    out.extend_from_slice(if piece.last { b" F " } else { b" P " });
    out.extend_from_slice(piece.text);
    out.push(b'\n');
}

/// The name of an instance's log file, as the kubelet names them by the count of restarts.
pub fn file_name(instance: u32) -> String {
    format!("{instance}.log")
}

/// The instance whose log file has this name, current or rotated. `None` for files of others.
pub fn instance_of(file_name: &str) -> Option<u32> {
    let stem = file_name.strip_suffix(".1").unwrap_or(file_name).strip_suffix(".log")?;
    let instance = stem.parse().ok()?;
    // `parse` takes `+1` and `01`, which are no names of ours.
    (self::file_name(instance).strip_suffix(".log") == Some(stem)).then_some(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_time_stream_tag_and_text() {
        let cases: [(Standard, &[u8], bool, &[u8]); 4] = [
            (Standard::Output, b"text", true, b"2026-11-24T03:44:31.123456789Z stdout F text\n"),
            (Standard::Error, b"text", false, b"2026-11-24T03:44:31.123456789Z stderr P text\n"),
            (Standard::Output, b"", true, b"2026-11-24T03:44:31.123456789Z stdout F \n"),
            (Standard::Error, b"\0\xff\r", true, b"2026-11-24T03:44:31.123456789Z stderr F \0\xff\r\n"),
        ];
        for (standard, text, last, expected) in cases {
            let mut out = Vec::new();
            let time = WallTime::new(1_795_491_871, 123_456_789);
            push_entry(&mut out, time, standard, Piece { text, continued: false, last });
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn only_our_file_names_name_an_instance() {
        let cases = [
            ("0.log", Some(0)),
            ("17.log", Some(17)),
            ("17.log.1", Some(17)),
            ("4294967295.log", Some(u32::MAX)),
            ("4294967296.log", None),
            ("17.log.2", None),
            ("17.log.1.1", None),
            ("+1.log", None),
            ("01.log", None),
            ("-1.log", None),
            (".log", None),
            ("17", None),
            ("17.1", None),
            ("notes.log", None),
        ];
        for (name, instance) in cases {
            assert_eq!(instance_of(name), instance, "{name}");
        }
        assert_eq!(instance_of(&file_name(3)), Some(3));
    }
}

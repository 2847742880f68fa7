//! A recording as one line of JSON. docs/simulate.md describes it.

use core::fmt::Write as _;

use super::casting::Cast;
use super::recording::{Ending, Recording, millis};
use super::timeline::Subject;
use super::transcript::{how_it_ends, role_name};
use crate::config::plan::{ContainerId, PodId};
use crate::supervisor::report::Severity;
use crate::time::Instant;

/// Writes the document, and a line break behind it.
pub fn notation(cast: &Cast, recording: &Recording) -> String {
    let mut json = Json { out: String::new(), recording };
    json.object(|json| {
        json.list("defaults", cast.defaults(), |json, sentence| json.text(&sentence));
        json.list("assumptions", &cast.assumptions, |json, assumption| json.text(&assumption.to_string()));
        json.key("end");
        json.object(|json| json.end());
        json.list("pods", recording.pods.iter().enumerate(), |json, (index, pod)| {
            json.object(|json| {
                json.pod(PodId(u8::try_from(index).unwrap_or(u8::MAX)));
                json.word("phase", pod.phase.name());
                json.flag("ready", pod.ready);
                json.time("ready_ms", pod.ready_at);
            });
        });
        json.list("containers", recording.containers.iter().enumerate(), |json, (index, summary)| {
            json.object(|json| {
                json.container(ContainerId(u16::try_from(index).unwrap_or(u16::MAX)));
                let container = recording.plan.containers.get(index);
                json.word("role", container.map_or("", |container| role_name(container.role)));
                json.number("starts", summary.starts.into());
                json.number("restarts", summary.restarts.into());
                json.time("ready_ms", summary.ready_at);
                if let Some(stage) = summary.stage {
                    json.word("state", stage.name());
                }
                if let Some((exit, at)) = summary.last_end {
                    json.time("last_end_ms", Some(at));
                    json.number("exit_code", exit.status.code().into());
                    json.flag("oom_killed", exit.oom_killed);
                }
            });
        });
        json.list("events", &recording.events, |json, event| {
            json.object(|json| {
                json.time("at_ms", Some(event.at));
                match event.of {
                    Subject::World => {}
                    Subject::Pod(id) => json.pod(id),
                    Subject::Container(id) => json.container(id),
                }
                json.word("what", event.what);
                json.word("severity", severity_name(event.severity));
                json.word("text", &event.text);
                if let Some(exit) = event.exit {
                    json.number("exit_code", exit.status.code().into());
                    json.flag("oom_killed", exit.oom_killed);
                }
            });
        });
        json.list("bars", &recording.bars, |json, bar| {
            json.object(|json| {
                json.container(bar.container);
                json.number("instance", bar.instance.0.into());
                json.word("state", bar.stage.name());
                json.time("from_ms", Some(bar.from));
                json.time("to_ms", Some(bar.to));
            });
        });
        json.list("signals", &recording.signals, |json, signal| {
            json.object(|json| {
                json.time("at_ms", Some(signal.at));
                json.container(signal.container);
                json.number("instance", signal.instance.0.into());
                json.word("signal", signal.name);
            });
        });
        json.list("hooks", &recording.hooks, |json, hook| {
            json.object(|json| {
                json.container(hook.container);
                json.number("instance", hook.instance.0.into());
                json.word("hook", hook.kind.name());
                json.time("from_ms", Some(hook.from));
                if let Some((at, success)) = hook.end {
                    json.time("to_ms", Some(at));
                    json.flag("success", success);
                }
            });
        });
        json.list("probes", &recording.tries, |json, tries| {
            json.object(|json| {
                json.container(tries.container);
                json.number("instance", tries.instance.0.into());
                json.word("probe", tries.kind.name());
                json.flag("success", tries.success);
                json.time("from_ms", tries.at.first().copied());
                json.time("to_ms", tries.at.last().copied());
                json.number("tries", u64::try_from(tries.at.len()).unwrap_or(u64::MAX));
            });
        });
    });
    json.out.push('\n');
    json.out
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// JSON as it grows. Everything in it is a text, a whole number or a boolean, so there is no need
/// for a tree of values.
struct Json<'a> {
    out: String,
    recording: &'a Recording,
}

impl Json<'_> {
    fn object(&mut self, content: impl FnOnce(&mut Self)) {
        self.out.push('{');
        content(self);
        self.out.push('}');
    }

    fn list<T>(
        &mut self,
        key: &str,
        elements: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.key(key);
        self.out.push('[');
        for element in elements {
            self.separate();
            write(self, element);
        }
        self.out.push(']');
    }

    /// A comma behind what stands before.
    fn separate(&mut self) {
        if !self.out.ends_with(['{', '[', ':']) {
            self.out.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.text(key);
        self.out.push(':');
    }

    fn word(&mut self, key: &str, word: &str) {
        self.key(key);
        self.text(word);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        // Writing into a String cannot fail.
        let _ = write!(self.out, "{number}");
    }

    fn flag(&mut self, key: &str, flag: bool) {
        self.key(key);
        self.out.push_str(if flag { "true" } else { "false" });
    }

    /// Left out where it never was.
    fn time(&mut self, key: &str, at: Option<Instant>) {
        if let Some(at) = at {
            self.number(key, millis(at));
        }
    }

    fn pod(&mut self, id: PodId) {
        let name = self.recording.plan.pods.get(id.index()).map_or("", |pod| pod.name.as_str());
        self.key("pod");
        self.text(name);
    }

    fn container(&mut self, id: ContainerId) {
        let recording = self.recording;
        let Some(container) = recording.plan.containers.get(id.index()) else { return };
        self.pod(container.pod);
        self.word("container", &container.name);
    }

    fn end(&mut self) {
        let how = match self.recording.ending {
            Ending::Ended(_) => "all-ended",
            Ending::AtRest => "at-rest",
            Ending::Until => "until",
            Ending::TooLong | Ending::TooMuch => "cut",
        };
        self.time("at_ms", Some(self.recording.end));
        self.word("how", how);
        self.word("text", &how_it_ends(self.recording));
        if let Ending::Ended(end) = self.recording.ending {
            self.number("failed_pods", u64::try_from(end.failed).unwrap_or(u64::MAX));
        }
    }

    /// A string (RFC 8259, section 7).
    fn text(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => {
                    self.out.push('\\');
                    self.out.push(character);
                }
                '\0'..='\x1f' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(character));
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }
}

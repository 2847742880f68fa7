//! A recording as a picture (SVG): a row for each container, with its states as bars along the
//! time, and what it was asked and sent as marks at them.
//!
//! One column, with the names above the bars, so that it can be read on a narrow screen as well.
//! States differ in shape and pattern too, not in colour alone: for print, and for eyes that take
//! some colours for one. Its size is bounded: marks that would overlap are left out and counted.

use core::fmt::{self, Write as _};

use super::axis::{Axis, Mark, Tenths};
use super::casting::Cast;
use super::path;
use super::recording::{Bar, ContainerSummary, Recording, Signal, Stage, Tries, millis};
use super::timeline::Subject;
use super::transcript::{describe_pod, how_it_ends, role_name, short};
use crate::config::plan::{ContainerId, Plan, Pod, Role};
use crate::supervisor::probe::ProbeKind;
use crate::supervisor::record::{Exit, ExitStatus};
use crate::supervisor::report::Ended;

/// Width of the picture. Heights follow from what is in it.
const WIDTH: Tenths = 7_200;

/// Space at the sides.
const MARGIN: Tenths = 160;

/// Height of a container's row, and in it: the bar's upper edge and its height, and the upper edge
/// of the marks for probes.
const ROW: Tenths = 460;
const BAR_TOP: Tenths = 190;
const BAR_HEIGHT: Tenths = 150;
const PROBES_TOP: Tenths = 355;

/// Height of a pod's line.
const POD_ROW: Tenths = 320;

/// Marks of one kind for all rows together, at most. Some hundred bytes each.
const MARKS_MAX: Tenths = 6_000;

/// Characters of a line of text.
const LINE_MAX: usize = 104;

/// Lines of assumptions.
const ASSUMPTIONS_MAX: usize = 14;

/// Looks of everything, by class.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2933;\
paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}\
.t{font-size:18px;font-weight:700}.p{font-size:15px;font-weight:700}.c{font-size:13px;font-weight:600}\
.s{font-weight:400;fill:#52606d}.n{font-size:12px;fill:#52606d}.e{font-size:11px;font-weight:600}\
.f{fill:#b42318}.a{stroke:#d5dae0;fill:none}.g{stroke:#7b8794;fill:none;stroke-dasharray:3 2}\
.w{stroke:#b42318;fill:none;stroke-width:2.4}.o{stroke:#3f9a68;fill:none}.h{fill:#f0f2f5}\
.k{stroke:#fff;stroke-width:5;fill:none}.l{stroke:#7b8794;fill:none}\
.creating{fill:#aab2bd}.running{fill:#8fbdeb}.ready{fill:#2f8f5b}.stopping{fill:url(#stopping)}\
.removing{fill:#d5dae0}.back-off{stroke:#7b8794;stroke-width:2.5;stroke-dasharray:2 3;fill:none}\
.crowded{fill:url(#crowded)}.term{fill:#9a3412}.kill{stroke:#fff;stroke-width:5.5;fill:none}\
.kill2{stroke:#b42318;stroke-width:2.6;fill:none}";

/// What fills what is hatched.
const PATTERNS: &str = "\
<defs>\
<pattern id=\"stopping\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect width=\"6\" height=\"6\" fill=\"#fbd38d\"/><rect width=\"2.4\" height=\"6\" fill=\"#c05621\"/></pattern>\
<pattern id=\"crowded\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
<rect width=\"4\" height=\"4\" fill=\"#e4e7eb\"/><rect width=\"2\" height=\"4\" fill=\"#52606d\"/></pattern>\
</defs>";

/// Draws it. Ends with a line break.
pub fn chart(cast: &Cast, recording: &Recording) -> String {
    let axis = Axis::new(worth_seeing(recording), millis(recording.end), MARGIN, WIDTH - MARGIN);
    let rows = u64::try_from(recording.plan.containers.len()).unwrap_or(1).max(1);
    let room = ((WIDTH - 2 * MARGIN) * rows / MARKS_MAX).max(12);
    let mut chart = Chart { out: String::new(), recording, axis, room, top: 0, left_out: 0 };
    chart.draw(cast);
    let Chart { out: content, top: height, .. } = chart;
    let mut out = String::new();
    // Writing into a String cannot fail, here and below.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" style=\"max-width:1080px\" role=\"img\" \
         aria-labelledby=\"title desc\">\n<title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n\
         <style>{STYLE}</style>\n{PATTERNS}\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{content}</svg>\n",
        Px(WIDTH),
        Px(height),
        Escaped(&title(&recording.plan)),
        Escaped(&describe(recording)),
    );
    out
}

fn title(plan: &Plan) -> String {
    let names: Vec<&str> = plan.pods.iter().map(|pod| pod.name.as_str()).collect();
    match names[..] {
        [name] => format!("Pod {name}, simulated"),
        _ if names.len() <= 5 => format!("Pods {}, simulated", names.join(", ")),
        _ => format!("{} pods, simulated", names.len()),
    }
}

/// For who cannot see it.
fn describe(recording: &Recording) -> String {
    let mut text = String::from("States of containers over time.");
    for (pod, summary) in recording.plan.pods.iter().zip(&recording.pods) {
        let _ = write!(text, " Pod {}: {}.", pod.name, describe_pod(summary));
    }
    let _ = write!(text, " At {}: {}.", short(recording.end), how_it_ends(recording));
    text
}

/// The times at which something can be seen to happen.
fn worth_seeing(recording: &Recording) -> Vec<u64> {
    let bars = recording.bars.iter().flat_map(|bar| [bar.from, bar.to]);
    let events = recording.events.iter().map(|event| event.at);
    let tries = recording.tries.iter().flat_map(|tries| {
        let first = tries.at.first().copied();
        first.into_iter().chain(tries.at.last().copied().filter(|_| !tries.success))
    });
    bars.chain(events).chain(tries).map(millis).collect()
}

struct Chart<'a> {
    out: String,
    recording: &'a Recording,
    axis: Axis,
    /// Least distance between marks of one kind.
    room: Tenths,
    /// Where the next thing goes.
    top: Tenths,
    /// Marks that found no room.
    left_out: usize,
}

impl<'a> Chart<'a> {
    fn draw(&mut self, cast: &Cast) {
        self.top = 300;
        self.text(MARGIN, self.top, "t", &title(&self.recording.plan));
        self.top += 60;
        self.draw_assumptions(cast);
        self.top += 280;
        let upper = self.top;
        // The grid goes below the rows, whose height is known.
        let pods = u64::try_from(self.recording.plan.pods.len()).unwrap_or(0);
        let containers = u64::try_from(self.recording.plan.containers.len()).unwrap_or(0);
        let lower = upper + pods * POD_ROW + containers * ROW + 40;
        self.draw_axis(upper, lower, containers > 8);
        let recording = self.recording;
        for (index, pod) in recording.plan.pods.iter().enumerate() {
            self.draw_pod(index, pod);
            let first_row = self.top;
            self.draw_gates(pod, first_row);
            for position in pod.containers() {
                self.draw_row(position);
            }
        }
        self.draw_bands(upper, lower);
        self.top = lower + if containers > 8 { 260 } else { 100 };
        self.draw_legend();
        self.draw_notes();
        self.top += 60;
    }

    fn text(&mut self, left: Tenths, base: Tenths, class: &str, text: &str) {
        let (left, base) = (Px(left), Px(base));
        let _ =
            writeln!(self.out, "<text x=\"{left}\" y=\"{base}\" class=\"{class}\">{}</text>", Escaped(text));
    }

    fn draw_assumptions(&mut self, cast: &Cast) {
        let mut lines: Vec<String> = Vec::new();
        for (position, sentence) in cast.sentences().iter().enumerate() {
            let sentence = if position == 0 { format!("Assumed: {sentence}") } else { sentence.clone() };
            lines.extend(wrap(&sentence, LINE_MAX));
        }
        let more = lines.len().saturating_sub(ASSUMPTIONS_MAX);
        lines.truncate(ASSUMPTIONS_MAX);
        if more > 0 {
            lines.push(format!("and more: {more} lines"));
        }
        for line in lines {
            self.top += 170;
            self.text(MARGIN, self.top, "n", &line);
        }
    }

    fn draw_axis(&mut self, upper: Tenths, lower: Tenths, twice: bool) {
        let ticks = self.axis.ticks();
        let mut grid = String::new();
        for tick in &ticks {
            let _ = write!(grid, "M{} {}V{}", Px(self.axis.place(*tick)), Px(upper - 40), Px(lower));
        }
        let _ = writeln!(self.out, "<path class=\"a\" d=\"{grid}\"/>");
        for base in [Some(upper - 70), twice.then_some(lower + 130)].into_iter().flatten() {
            for tick in &ticks {
                let place = self.axis.place(*tick);
                let anchor = match place {
                    place if place < MARGIN + 150 => "start",
                    place if place > WIDTH - MARGIN - 150 => "end",
                    _ => "middle",
                };
                let _ = writeln!(
                    self.out,
                    "<text x=\"{}\" y=\"{}\" class=\"n\" text-anchor=\"{anchor}\">{}</text>",
                    Px(place),
                    Px(base),
                    Mark(*tick)
                );
            }
        }
    }

    /// Over the rows: what is broken out is white, between two waves.
    fn draw_bands(&mut self, upper: Tenths, lower: Tenths) {
        for segment in self.axis.segments.clone() {
            if !segment.is_broken {
                continue;
            }
            let middle = (segment.left + segment.right) / 2;
            let mut waves = String::new();
            for place in [middle.saturating_sub(35), middle + 35] {
                let _ = write!(waves, "M{} {}", Px(place), Px(upper));
                let mut at = upper;
                while at + 120 <= lower {
                    let _ = write!(waves, "q4 3 0 6t0 6");
                    at += 120;
                }
            }
            let (left, height) = (Px(middle.saturating_sub(35)), Px(lower - upper));
            let _ = writeln!(
                self.out,
                "<g><title>{} in which nothing new happens</title><rect x=\"{left}\" y=\"{}\" width=\"7\" \
                 height=\"{height}\" fill=\"#fff\"/><path class=\"l\" d=\"{waves}\"/>\
                 <text x=\"{}\" y=\"{}\" class=\"n\" text-anchor=\"middle\" font-style=\"italic\">+{}</text></g>",
                Mark(segment.to - segment.from),
                Px(upper),
                Px(middle),
                Px(upper + 130),
                Mark(rounded(segment.to - segment.from))
            );
        }
    }

    fn draw_pod(&mut self, index: usize, pod: &Pod) {
        let _ = writeln!(
            self.out,
            "<rect class=\"h\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"24\" rx=\"4\"/>",
            Px(MARGIN - 80),
            Px(self.top + 40),
            Px(WIDTH - 2 * MARGIN + 160)
        );
        let plan = &self.recording.plan;
        let names: Vec<&str> = pod
            .after
            .iter()
            .filter_map(|id| plan.pods.get(id.index()))
            .map(|pod| pod.name.as_str())
            .collect();
        let after = if names.is_empty() { String::new() } else { format!("after {}; ", names.join(", ")) };
        let became = self.recording.pods.get(index).map(describe_pod).unwrap_or_default();
        let (left, base) = (Px(MARGIN), Px(self.top + 215));
        let _ = writeln!(
            self.out,
            "<text x=\"{left}\" y=\"{base}\" class=\"p\">pod {}<tspan class=\"s\" font-size=\"12\" dx=\"10\">{}{}\
             </tspan></text>",
            Escaped(&pod.name),
            Escaped(&after),
            Escaped(&became)
        );
        self.top += POD_ROW;
    }

    /// Who waited for whom: from the init container before to each container behind, at the time
    /// at which that was created first.
    fn draw_gates(&mut self, pod: &Pod, first_row: Tenths) {
        let first = usize::from(pod.init_containers.start);
        let inits = usize::from(pod.init_containers.end).saturating_sub(first);
        for position in pod.containers().skip(1) {
            let row = position - first;
            let Some(gate) = row.min(inits).checked_sub(1) else { continue };
            let bars = &self.recording.bars;
            let Some(bar) = bars.iter().find(|bar| bar.container.index() == position) else { continue };
            let row_top = |row: usize| first_row + u64::try_from(row).unwrap_or(0) * ROW + BAR_TOP;
            let (place, from, to) = (self.axis.place(millis(bar.from)), row_top(gate), row_top(row));
            let _ = writeln!(
                self.out,
                "<path class=\"g\" d=\"M{0} {1}V{2}\"/><path fill=\"#7b8794\" d=\"M{0} {3}l-3 -6h6z\"/>",
                Px(place),
                Px(from + BAR_HEIGHT),
                Px(to.saturating_sub(30)),
                Px(to)
            );
        }
    }

    fn draw_row(&mut self, position: usize) {
        let recording = self.recording;
        let id = ContainerId(u16::try_from(position).unwrap_or(u16::MAX));
        let Some(container) = recording.plan.containers.get(position) else { return };
        let summary = recording.containers.get(position).copied().unwrap_or_default();
        let bars: Vec<&'a Bar> = recording.bars.iter().filter(|bar| bar.container == id).collect();
        self.draw_bars(&bars);
        let (left, base) = (Px(MARGIN), Px(self.top + 140));
        let _ = writeln!(
            self.out,
            "<text x=\"{left}\" y=\"{base}\" class=\"c\">{}<tspan class=\"s\" font-size=\"12\" dx=\"8\">{}</tspan>\
             </text>",
            Escaped(&container.name),
            Escaped(&describe_row(container.role, &summary))
        );
        self.draw_tries(id);
        self.draw_ends(id);
        let signals: Vec<&Signal> =
            recording.signals.iter().filter(|signal| signal.container == id).collect();
        self.draw_signals(&signals);
        self.top += ROW;
    }

    /// Bars that are too narrow to be seen become one as soon as they are many.
    fn draw_bars(&mut self, bars: &[&Bar]) {
        let mut narrow: Vec<&Bar> = Vec::new();
        for bar in bars {
            let width = self.axis.place(millis(bar.to)) - self.axis.place(millis(bar.from));
            if width < self.room {
                narrow.push(bar);
                continue;
            }
            self.draw_narrow(&core::mem::take(&mut narrow));
            self.draw_bar(bar);
        }
        self.draw_narrow(&narrow);
    }

    fn draw_narrow(&mut self, bars: &[&Bar]) {
        let (Some(first), Some(last)) = (bars.first(), bars.last()) else { return };
        if bars.len() <= 4 {
            for bar in bars {
                self.draw_bar(bar);
            }
            return;
        }
        self.left_out += bars.len();
        let (left, right) = (self.axis.place(millis(first.from)), self.axis.place(millis(last.to)));
        let _ = writeln!(
            self.out,
            "<rect class=\"crowded\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}, {} to {}: {} states, \
             runs {} to {}</title></rect>",
            Px(left),
            Px(self.top + BAR_TOP),
            Px((right - left).max(10)),
            Px(BAR_HEIGHT),
            Escaped(&path(&self.recording.plan, first.container)),
            short(first.from),
            short(last.to),
            bars.len(),
            first.instance.0,
            last.instance.0
        );
    }

    fn draw_bar(&mut self, bar: &Bar) {
        let (left, right) = (self.axis.place(millis(bar.from)), self.axis.place(millis(bar.to)));
        let width = (right - left).max(6);
        let class = bar.stage.name();
        let (inset, height) = match bar.stage {
            Stage::Creating | Stage::Removing => (40, BAR_HEIGHT - 80),
            Stage::Running | Stage::Ready | Stage::Stopping | Stage::BackOff => (0, BAR_HEIGHT),
        };
        let top = self.top + BAR_TOP + inset;
        let shape = match bar.stage {
            Stage::BackOff => {
                format!("<path class=\"{class}\" d=\"M{} {}h{}\">", Px(left), Px(top + height / 2), Px(width))
            }
            Stage::Creating | Stage::Running | Stage::Ready | Stage::Stopping | Stage::Removing => format!(
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">",
                Px(left),
                Px(top),
                Px(width),
                Px(height)
            ),
        };
        let end = if bar.stage == Stage::BackOff { "path" } else { "rect" };
        let _ = writeln!(
            self.out,
            "{shape}<title>{}, run {}: {} from {} to {}</title></{end}>",
            Escaped(&path(&self.recording.plan, bar.container)),
            bar.instance.0,
            stage_words(bar.stage),
            short(bar.from),
            short(bar.to)
        );
    }

    fn draw_tries(&mut self, id: ContainerId) {
        let recording = self.recording;
        for kind in ProbeKind::ALL {
            for success in [true, false] {
                let is_it =
                    |tries: &&Tries| tries.container == id && tries.kind == kind && tries.success == success;
                let times = recording.tries.iter().filter(is_it).flat_map(|tries| &tries.at);
                let (mut ticks, mut count, mut free_from) = (String::new(), 0_usize, 0);
                // Failures are few in most cases, and none may be missed: they may be closer.
                let room = if success { self.room.max(25) } else { self.room };
                for at in times {
                    count += 1;
                    let place = self.axis.place(millis(*at));
                    if place < free_from || (success && self.axis.is_hidden(millis(*at))) {
                        self.left_out += 1;
                        continue;
                    }
                    free_from = place + room;
                    let height = if success { 50 } else { 90 };
                    let _ = write!(ticks, "M{} {}v{}", Px(place), Px(self.top + PROBES_TOP), Px(height));
                }
                if count > 0 {
                    let (class, word) = if success { ("o", "succeeded") } else { ("w", "failed") };
                    let _ = writeln!(
                        self.out,
                        "<path class=\"{class}\" d=\"{ticks}\"><title>{} probe of {}: {count} tries {word}\
                         </title></path>",
                        kind.name(),
                        Escaped(&path(&recording.plan, id))
                    );
                }
            }
        }
    }

    /// Exit codes, where the process ended.
    fn draw_ends(&mut self, id: ContainerId) {
        let recording = self.recording;
        let mut free_from = 0;
        for event in recording.events.iter().filter(|event| event.of == Subject::Container(id)) {
            let Some(exit) = event.exit else { continue };
            let place = self.axis.place(millis(event.at));
            let failed = exit.status != ExitStatus::Code(0) || exit.oom_killed;
            let words = code(exit);
            let width = u64::try_from(words.len()).unwrap_or(0) * 68 + 30;
            let at_right = place + width > WIDTH - MARGIN / 2;
            let begins = if at_right { place.saturating_sub(width) } else { place };
            if begins < free_from {
                self.left_out += 1;
                continue;
            }
            free_from = begins + width + 30;
            let (anchor, left) =
                if at_right { ("end", place.saturating_sub(30)) } else { ("start", place + 30) };
            if failed {
                let (top, height) = (self.top + BAR_TOP - 20, BAR_HEIGHT + 40);
                let _ =
                    writeln!(self.out, "<path class=\"w\" d=\"M{} {}v{}\"/>", Px(place), Px(top), Px(height));
            }
            let _ = writeln!(
                self.out,
                "<text x=\"{}\" y=\"{}\" class=\"e{}\" text-anchor=\"{anchor}\"><title>{}, {}: {}</title>{words}</text>",
                Px(left),
                Px(self.top + BAR_TOP + 115),
                if failed { " f" } else { "" },
                Escaped(&path(&recording.plan, id)),
                short(event.at),
                Escaped(&Ended(exit).to_string())
            );
        }
    }

    fn draw_signals(&mut self, signals: &[&Signal]) {
        for kills in [false, true] {
            let mut free_from = 0;
            for signal in signals.iter().filter(|signal| signal.kills == kills) {
                let place = self.axis.place(millis(signal.at));
                if place < free_from {
                    self.left_out += 1;
                    continue;
                }
                free_from = place + self.room;
                let middle = self.top + BAR_TOP + BAR_HEIGHT / 2;
                let shape = if kills { cross(place, middle) } else { triangle(place, self.top + BAR_TOP) };
                let _ = writeln!(
                    self.out,
                    "<g>{shape}<title>{} to {}, {}</title></g>",
                    signal.name,
                    Escaped(&path(&self.recording.plan, signal.container)),
                    short(signal.at)
                );
            }
        }
    }

    fn draw_legend(&mut self) {
        let mut left = MARGIN;
        let mut entries: Vec<(String, &str)> = Vec::new();
        let base = |top: Tenths| Px(top.saturating_sub(100));
        // Drawn with its left edge at 0, moved by the group around it.
        let swatch = |class: &str, inset: Tenths| {
            format!(
                "<rect class=\"{class}\" y=\"{}\" width=\"18\" height=\"{}\"/>",
                Px(inset),
                Px(BAR_HEIGHT - 30 - 2 * inset)
            )
        };
        entries.push((swatch("creating", 30), "being started"));
        entries.push((swatch("running", 0), "runs"));
        entries.push((swatch("ready", 0), "runs and is ready"));
        entries.push((swatch("stopping", 0), "being stopped"));
        entries.push((swatch("removing", 30), "being removed"));
        entries.push(("<path class=\"back-off\" d=\"M0 6h18\"/>".to_owned(), "waits for its restart"));
        entries.push((triangle(90, 110), "stop signal"));
        entries.push((cross(90, 60), "SIGKILL"));
        entries.push(("<path class=\"w\" d=\"M9 -1v14\"/>".to_owned(), "ended badly, exit code"));
        entries.push(("<path class=\"o\" d=\"M5 5v5M9 5v5M13 5v5\"/>".to_owned(), "probe succeeds"));
        entries.push(("<path class=\"w\" d=\"M5 3v9M9 3v9M13 3v9\"/>".to_owned(), "probe fails"));
        entries.push((
            "<path class=\"g\" d=\"M9 -2v8\"/><path fill=\"#7b8794\" d=\"M9 13l-3 -6h6z\"/>".to_owned(),
            "waited for",
        ));
        self.top += 160;
        for (shape, words) in entries {
            let width = 230 + u64::try_from(words.len()).unwrap_or(0) * 66 + 140;
            if left + width > WIDTH - MARGIN + 140 {
                left = MARGIN;
                self.top += 210;
            }
            let _ =
                writeln!(self.out, "<g transform=\"translate({} {})\">{shape}</g>", Px(left), base(self.top));
            self.text(left + 230, self.top, "n", words);
            left += width;
        }
    }

    fn draw_notes(&mut self) {
        self.top += 100;
        let mut notes =
            vec![format!("After {}: {}.", short(self.recording.end), how_it_ends(self.recording))];
        if self.left_out > 0 {
            notes.push(format!(
                "{} marks that would overlap or stand in a break are left out.",
                self.left_out
            ));
        }
        for line in notes.iter().flat_map(|note| wrap(note, LINE_MAX)) {
            self.top += 180;
            self.text(MARGIN, self.top, "n", &line);
        }
    }
}

fn triangle(place: Tenths, top: Tenths) -> String {
    format!("<path class=\"term\" d=\"M{} {}l-5 -10h10z\"/>", Px(place), Px(top))
}

fn cross(place: Tenths, middle: Tenths) -> String {
    let (left, top) = (Px(place.saturating_sub(45)), Px(middle.saturating_sub(45)));
    let strokes = format!("M{left} {top}l9 9m0 -9l-9 9");
    format!("<path class=\"kill\" d=\"{strokes}\"/><path class=\"kill2\" d=\"{strokes}\"/>")
}

fn describe_row(role: Role, summary: &ContainerSummary) -> String {
    let mut words = role_name(role).to_owned();
    if let Some(at) = summary.ready_at {
        let done = if role == Role::Init { "done" } else { "ready" };
        let _ = write!(words, ", {done} after {}", short(at));
    } else if summary.starts == 0 {
        words.push_str(", never started");
    }
    match summary.restarts {
        0 => {}
        1 => words.push_str(", 1 restart"),
        count => {
            let _ = write!(words, ", {count} restarts");
        }
    }
    words
}

fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Creating => "being started",
        Stage::Running => "runs",
        Stage::Ready => "runs and is ready",
        Stage::Stopping => "being stopped",
        Stage::Removing => "being removed",
        Stage::BackOff => "waits for its restart",
    }
}

fn code(exit: Exit) -> String {
    let code = exit.status.code();
    if exit.oom_killed { format!("OOM {code}") } else { code.to_string() }
}

/// To what matters of a long time.
fn rounded(millis: u64) -> u64 {
    let to = if millis >= 10_000 { 1_000 } else { 100 };
    (millis + to / 2) / to * to
}

/// Lines of at most `width` characters, broken at blanks.
fn wrap(text: &str, width: usize) -> Vec<String> {
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
struct Px(Tenths);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenths => write!(f, "{}.{tenths}", self.0 / 10),
        }
    }
}

/// Text between tags, or in an attribute. XML cannot have control characters at all.
struct Escaped<'a>(&'a str);

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

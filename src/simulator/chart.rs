//! A recording as a picture (SVG): a row for each container, with its states as bars along the
//! time, and what it was asked and sent as marks at them.
//!
//! One column, with the names above the bars, so that it can be read on a narrow screen as well.
//! States differ in shape and pattern too, not in colour alone: for print, and for eyes that take
//! some colours for one. Its size is bounded: marks that would overlap are left out and counted.

use core::fmt::Write as _;

use super::axis::{Axis, Mark, Tenths};
use super::casting::Cast;
use super::ink::{Escaped, PATTERNS, Px, STYLE, cross, triangle, wrap};
use super::path;
use super::recording::{Bar, ContainerSummary, Recording, Signal, Stage, Tries, millis};
use super::timeline::Subject;
use super::transcript::{describe_pod, how_it_ends, role_name, short};
use crate::config::plan::{ContainerId, Plan, Pod, Role};
use crate::supervisor::probe::ProbeKind;
use crate::supervisor::record::{Exit, ExitStatus};
use crate::supervisor::wording::Ended;

/// Width of the picture. Heights follow from what is in it.
pub(super) const WIDTH: Tenths = 5_600;

/// Space at the sides.
pub(super) const MARGIN: Tenths = 160;

/// Height of a container's row, and in it: the bar's upper edge and its height, and the upper edge
/// of the marks for probes.
const ROW: Tenths = 460;
const BAR_TOP: Tenths = 190;
pub(super) const BAR_HEIGHT: Tenths = 150;
const PROBES_TOP: Tenths = 355;

/// Height of a pod's line.
const POD_ROW: Tenths = 320;

/// Marks of one kind for all rows together, at most. Some hundred bytes each.
const MARKS_MAX: Tenths = 6_000;

/// Characters of a line of text.
pub(super) const LINE_MAX: usize = 82;

/// Lines of assumptions.
const ASSUMPTIONS_MAX: usize = 14;

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
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" style=\"max-width:860px\" role=\"img\" \
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

/// A chart that is being drawn, from top to bottom.
pub(super) struct Chart<'a> {
    pub(super) out: String,
    pub(super) recording: &'a Recording,
    pub(super) axis: Axis,
    /// Least distance between marks of one kind.
    pub(super) room: Tenths,
    /// Where the next thing goes.
    pub(super) top: Tenths,
    /// Marks that found no room.
    pub(super) left_out: usize,
}

impl<'a> Chart<'a> {
    fn draw(&mut self, cast: &Cast) {
        self.top = 300;
        self.text(MARGIN, self.top, "t", &title(&self.recording.plan));
        self.top += 60;
        self.draw_assumptions(cast);
        let is_broken = self.axis.segments.iter().any(|segment| segment.is_broken);
        self.top += if is_broken { 400 } else { 280 };
        let upper = self.top;
        let base = upper - if is_broken { 190 } else { 70 };
        // The grid goes below the rows, whose height is known.
        let pods = u64::try_from(self.recording.plan.pods.len()).unwrap_or(0);
        let containers = u64::try_from(self.recording.plan.containers.len()).unwrap_or(0);
        let lower = upper + pods * POD_ROW + containers * ROW + 40;
        self.draw_axis(base, lower, containers > 8);
        self.draw_breaks(upper);
        let recording = self.recording;
        for (index, pod) in recording.plan.pods.iter().enumerate() {
            self.draw_pod(index, pod);
            let first_row = self.top;
            self.draw_gates(pod, first_row);
            for position in pod.containers() {
                self.draw_row(position);
            }
        }
        self.top = lower + if containers > 8 { 260 } else { 100 };
        self.draw_legend();
        self.draw_notes();
        self.top += 60;
    }

    pub(super) fn text(&mut self, left: Tenths, base: Tenths, class: &str, text: &str) {
        let (left, base) = (Px(left), Px(base));
        let _ =
            writeln!(self.out, "<text x=\"{left}\" y=\"{base}\" class=\"{class}\">{}</text>", Escaped(text));
    }

    fn draw_assumptions(&mut self, cast: &Cast) {
        let mut lines = wrap(&format!("Assumed: {}", cast.defaults().join("; ")), LINE_MAX);
        let assumptions: Vec<String> =
            cast.assumptions.iter().map(|assumption| assumption.to_string().replace(' ', "\u{a0}")).collect();
        if !assumptions.is_empty() {
            lines.extend(wrap(&assumptions.join(" "), LINE_MAX));
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

    fn draw_axis(&mut self, base: Tenths, lower: Tenths, twice: bool) {
        let ticks = self.axis.ticks();
        let mut grid = String::new();
        for tick in &ticks {
            let _ = write!(grid, "M{} {}V{}", Px(self.axis.place(*tick)), Px(base + 30), Px(lower));
        }
        let _ = writeln!(self.out, "<path class=\"a\" d=\"{grid}\"/>");
        for base in [Some(base), twice.then_some(lower + 130)].into_iter().flatten() {
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

    /// What is broken out, above the rows.
    fn draw_breaks(&mut self, upper: Tenths) {
        for segment in self.axis.segments.iter().filter(|segment| segment.is_broken) {
            let length = segment.to - segment.from;
            let _ = writeln!(
                self.out,
                "<text x=\"{}\" y=\"{}\" class=\"n\" text-anchor=\"middle\" font-style=\"italic\"><title>{} in which \
                 nothing new happens</title>+{}</text>",
                Px((segment.left + segment.right) / 2),
                Px(upper - 40),
                Mark(length),
                Mark(rounded(length))
            );
        }
    }

    /// Over the bars of a row: what is broken out is white, between two waves.
    fn draw_waves(&mut self, bars: &[&Bar]) {
        let (upper, height) = (self.top + BAR_TOP - 30, BAR_HEIGHT + 60);
        let is_in = |at: u64| bars.iter().any(|bar| millis(bar.from) < at && at < millis(bar.to));
        for segment in &self.axis.segments {
            if !segment.is_broken || !is_in((segment.from + segment.to) / 2) {
                continue;
            }
            let middle = (segment.left + segment.right) / 2;
            let (left, right, top) = (Px(middle - 35), Px(middle + 35), Px(upper));
            let _ = writeln!(
                self.out,
                "<rect x=\"{left}\" y=\"{top}\" width=\"7\" height=\"{}\" fill=\"#fff\"/><path class=\"l\" \
                 d=\"M{left} {top}q4 5.2 0 10.5t0 10.5M{right} {top}q4 5.2 0 10.5t0 10.5\"/>",
                Px(height)
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
        self.draw_waves(&bars);
        let (left, base) = (Px(MARGIN), Px(self.top + 140));
        let _ = writeln!(
            self.out,
            "<text x=\"{left}\" y=\"{base}\" class=\"c\">{}<tspan class=\"s\" font-size=\"12\" dx=\"8\">{}</tspan>\
             </text>",
            Escaped(&container.name),
            Escaped(&describe_row(container.role, &summary))
        );
        self.draw_hooks(id);
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

    /// Along the upper edge of the bar.
    fn draw_hooks(&mut self, id: ContainerId) {
        let recording = self.recording;
        let mut free_from = 0;
        for hook in recording.hooks.iter().filter(|hook| hook.container == id) {
            let (to, well) = hook.end.unwrap_or((recording.end, true));
            let (left, right) = (self.axis.place(millis(hook.from)), self.axis.place(millis(to)));
            if left < free_from {
                self.left_out += 1;
                continue;
            }
            free_from = left + self.room;
            let _ = writeln!(
                self.out,
                "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"4\"><title>{} hook of {}, {} to {}{}</title></rect>",
                if well { "hook" } else { "hook-failed" },
                Px(left),
                Px(self.top + BAR_TOP - 20),
                Px((right - left).max(20)),
                hook.kind.name(),
                Escaped(&path(&recording.plan, id)),
                short(hook.from),
                short(to),
                if well { "" } else { ", failed" }
            );
        }
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
            let failed = has_failed(exit);
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
                if at_right { ("end", place.saturating_sub(70)) } else { ("start", place + 30) };
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

pub(super) fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Creating => "being started",
        Stage::Running => "runs",
        Stage::Ready => "runs and is ready",
        Stage::Stopping => "being stopped",
        Stage::Removing => "being removed",
        Stage::BackOff => "waits for its restart",
    }
}

pub(super) fn has_failed(exit: Exit) -> bool {
    exit.status != ExitStatus::Code(0) || exit.oom_killed
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

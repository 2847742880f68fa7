//! What stands below a chart: what its shapes mean, where it ends and why.

use core::fmt::Write as _;

use super::axis::{Mark, Tenths};
use super::chart::{BAR_HEIGHT, Chart, LINE_MAX, MARGIN, WIDTH, has_failed, stage_words};
use super::ink::{Px, cross, triangle, wrap};
use super::recording::{Stage, millis};
use super::transcript::how_it_ends;

impl Chart<'_> {
    pub(super) fn draw_legend(&mut self) {
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
        let recording = self.recording;
        for stage in Stage::ALL {
            if !recording.bars.iter().any(|bar| bar.stage == stage) {
                continue;
            }
            let shape = match stage {
                Stage::Creating | Stage::Removing => swatch(stage.name(), 30),
                Stage::Running | Stage::Ready | Stage::Stopping => swatch(stage.name(), 0),
                Stage::BackOff => "<path class=\"back-off\" d=\"M0 6h18\"/>".to_owned(),
            };
            entries.push((shape, stage_words(stage)));
        }
        if recording.signals.iter().any(|signal| !signal.kills) {
            entries.push((triangle(90, 110), "stop signal"));
        }
        if recording.signals.iter().any(|signal| signal.kills) {
            entries.push((cross(90, 60), "SIGKILL"));
        }
        if !recording.hooks.is_empty() {
            entries.push(("<rect class=\"hook\" y=\"4\" width=\"18\" height=\"4\"/>".to_owned(), "hook"));
        }
        if recording.events.iter().any(|event| event.exit.is_some_and(has_failed)) {
            entries.push(("<path class=\"w\" d=\"M9 -1v14\"/>".to_owned(), "ended badly, exit code"));
        }
        if recording.tries.iter().any(|tries| tries.success) {
            entries.push(("<path class=\"o\" d=\"M5 5v5M9 5v5M13 5v5\"/>".to_owned(), "probe succeeds"));
        }
        if recording.tries.iter().any(|tries| !tries.success) {
            entries.push(("<path class=\"w\" d=\"M5 3v9M9 3v9M13 3v9\"/>".to_owned(), "probe fails"));
        }
        if recording.plan.pods.iter().any(|pod| !pod.init_containers.is_empty()) {
            let arrow = "<path class=\"g\" d=\"M9 -2v8\"/><path fill=\"#7b8794\" d=\"M9 13l-3 -6h6z\"/>";
            entries.push((arrow.to_owned(), "waited for"));
        }
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

    pub(super) fn draw_notes(&mut self) {
        self.top += 100;
        let mut notes =
            vec![format!("At {}: {}.", Mark(millis(self.recording.end)), how_it_ends(self.recording))];
        if self.left_out > 0 {
            notes.push(format!(
                "Marks left out, as they would overlap or stand in a break: {}.",
                self.left_out
            ));
        }
        for line in notes.iter().flat_map(|note| wrap(note, LINE_MAX)) {
            self.top += 180;
            self.text(MARGIN, self.top, "n", &line);
        }
    }
}

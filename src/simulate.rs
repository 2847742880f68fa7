//! `outrigger simulate`: pods in a simulated world, under assumptions. Reads files and writes one;
//! what is between is pure.

use std::io::Write;
use std::rc::Rc;

use crate::cli::{Format, Simulation, status};
use crate::run;
use crate::simulator::casting::cast;
use crate::simulator::chart::chart;
use crate::simulator::notation::notation;
use crate::simulator::recorder::record;
use crate::simulator::transcript::transcript;

/// Simulates, and prints or writes what happens. Returns the exit status.
pub fn simulate(simulation: Simulation) -> u8 {
    let Simulation { files, assumptions, until, format, output } = simulation;
    let plan = match run::load(&files) {
        Ok(plan) => plan,
        Err(text) => {
            eprint!("{text}");
            return status::CONFIGURATION;
        }
    };
    let cast = match cast(Rc::new(plan), assumptions) {
        Ok(cast) => cast,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("outrigger: error: {mistake}");
            }
            return status::USAGE;
        }
    };
    let recording = match record(&cast, until) {
        Ok(recording) => recording,
        Err(broken) => {
            eprintln!(
                "outrigger: error: a decision breaks one of outrigger's own rules, please report it: {broken}"
            );
            return status::SYSTEM;
        }
    };
    let text = match format {
        Format::Text => transcript(&cast, &recording),
        Format::Json => notation(&cast, &recording),
        Format::Svg => chart(&cast, &recording),
    };
    match output {
        None => {
            // Nobody who listens (`outrigger simulate | head`) is not an error.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
        Some(path) => {
            if let Err(error) = std::fs::write(&path, text) {
                eprintln!("outrigger: error: cannot write `{}`: {error}", path.display());
                return status::SYSTEM;
            }
        }
    }
    status::FINE
}

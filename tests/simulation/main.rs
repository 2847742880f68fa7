//! The decisions in random worlds: each seed makes a plan, a world that behaves badly, and stops at
//! any time, and after each event all invariants of docs/invariants.md must hold.
//!
//! `make soak SEEDS=n` tries many more seeds. A seed that fails says how to see it again:
//! `SEED=n cargo test --test simulation -- replay --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy exempts test functions, but not what they call"
)]

mod random;
mod shrink;
mod sketch;

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant as WallClock;

use outrigger::config::plan::Plan;
use outrigger::simulator::World;
use outrigger::simulator::invariants::{Broken, Invariant};
use outrigger::simulator::script::Script;

use self::shrink::{describe, shrink};
use self::sketch::{Sketch, Template};

/// Seeds of an ordinary test run: fewer where nothing is optimised. `make simulation` has them all.
const SEEDS: u64 = if cfg!(debug_assertions) { 500 } else { 10_000 };

/// Every so many worlds are lived twice, and word their reports.
const TWICE_EVERY: u64 = 64;

/// Lives through a world. Returns how many turns it had.
fn live(world: &mut World, sketch: &Sketch) -> Result<u64, Broken> {
    let mut turns = 0;
    while world.step()?.is_some() {
        turns += 1;
    }
    let (end, bound) = (world.now(), sketch.bound());
    if end > bound {
        let text = format!("it ended at {end:?}, and should have by {bound:?}");
        return Err(Broken { invariant: Some(Invariant::BoundedStop), text });
    }
    Ok(turns)
}

fn world(plan: &Rc<Plan>, script: &Script) -> Result<World, Broken> {
    World::new(Rc::clone(plan), script.clone())
}

/// Lives through the world of a sketch.
fn check(sketch: &Sketch, template: &Template) -> Result<u64, Broken> {
    let (plan, script) = sketch.build(template);
    live(&mut World::new(plan, script)?.without_timeline(), sketch)
}

/// Twice, with all that is told.
fn check_twice(sketch: &Sketch, template: &Template) -> Result<u64, Broken> {
    let (plan, script) = sketch.build(template);
    let (mut one, mut other) = (world(&plan, &script)?, world(&plan, &script)?);
    let turns = live(&mut one, sketch)?;
    live(&mut other, sketch)?;
    if one.timeline() != other.timeline() {
        let text = "the same world went two ways".to_owned();
        return Err(Broken { invariant: Some(Invariant::Determinism), text });
    }
    Ok(turns)
}

/// All that is to be known of a seed that fails.
fn tell(seed: u64, sketch: &Sketch, broken: &Broken, template: &Template) -> String {
    let fails =
        |sketch: &Sketch| check(sketch, template).is_err_and(|other| other.invariant == broken.invariant);
    let mut text = format!("seed {seed}: {broken}\n");
    text.push_str(&format!("see it again: SEED={seed} cargo test --test simulation -- replay --nocapture\n"));
    if fails(sketch) {
        let small = shrink(sketch, fails);
        let again = check(&small, template).err().map(|it| it.to_string()).unwrap_or_default();
        text.push_str(&format!(
            "still so, with less: {again}\n{}{}",
            describe(&small),
            trace(&small, template)
        ));
    }
    text
}

/// The log of a world up to its end, with everything that is in the timeline.
fn trace(sketch: &Sketch, template: &Template) -> String {
    use outrigger::simulator::timeline::Line;
    let (plan, script) = sketch.build(template);
    let mut world = world(&plan, &script).unwrap_or_else(|broken| panic!("{broken}"));
    let end = match live(&mut world, sketch) {
        Ok(turns) => format!("all has ended after {turns} turns, {:?}", world.exit()),
        Err(broken) => format!("at {:?}: {broken}", world.now()),
    };
    let mut text = String::new();
    for entry in world.timeline() {
        text.push_str(&format!("{}\n", Line { plan: &plan, entry }));
    }
    text.push_str(&end);
    text
}

/// Checks one seed. In the error: all that is to be known.
fn check_seed(seed: u64, template: &Template) -> Result<u64, String> {
    let sketch = Sketch::random(seed, template);
    let checked =
        if seed % TWICE_EVERY == 0 { check_twice(&sketch, template) } else { check(&sketch, template) };
    checked.map_err(|broken| tell(seed, &sketch, &broken, template))
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn random_worlds_keep_all_invariants() {
    let template = Template::new();
    for seed in 0..SEEDS {
        if let Err(text) = check_seed(seed, &template) {
            panic!("{text}");
        }
    }
}

#[test]
fn every_invariant_is_told_and_no_other() {
    let text = include_str!("../../docs/invariants.md");
    let told: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("**")?.split_once("** — "))
        .map(|(name, _)| name)
        .collect();
    let names: Vec<&str> = Invariant::ALL.into_iter().map(Invariant::name).collect();
    assert_eq!(told, names);
}

/// The trace of the world that `SEED` names: of any one otherwise, since what is needed when
/// something is wrong should be known to work.
#[test]
fn replay() {
    let template = Template::new();
    let seed = number("SEED").unwrap_or(0);
    let sketch = Sketch::random(seed, &template);
    let text = trace(&sketch, &template);
    println!("{}{text}", describe(&sketch));
    assert_eq!(text, trace(&sketch, &template));
    if let Err(text) = check_seed(seed, &template) {
        panic!("{text}");
    }
    assert!(text.contains("all has ended"));
}

/// `make soak`: as many seeds as `SEEDS` says from `FIRST` on, on all cores. Stops at the first
/// that fails.
#[test]
fn soak() {
    let (first, count) = (number("FIRST").unwrap_or(SEEDS), number("SEEDS").unwrap_or(100));
    let next = AtomicU64::new(first);
    let turns = AtomicU64::new(0);
    let failed = std::sync::Mutex::new(None::<(u64, String)>);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let began = WallClock::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let template = Template::new();
                while failed.lock().unwrap().is_none() {
                    // Some at once, so that the cores do not wait for each other.
                    let from = next.fetch_add(100, Ordering::Relaxed);
                    let to = (first + count).min(from + 100);
                    if from >= to {
                        return;
                    }
                    for seed in from..to {
                        match check_seed(seed, &template) {
                            Ok(count) => drop(turns.fetch_add(count, Ordering::Relaxed)),
                            Err(text) => {
                                let mut failed = failed.lock().unwrap();
                                if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                                    *failed = Some((seed, text));
                                }
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    if let Some((seed, text)) = failed {
        panic!("{text}\nfailed after about {} seeds", seed - first + 1);
    }
    let seconds = began.elapsed().as_secs_f64();
    let (seeds, turns) = (count as f64, turns.into_inner() as f64);
    println!(
        "{count} seeds from {first}: {seconds:.1} s on {cores} cores, {:.0} seeds a second and core, {:.0} turns a seed",
        seeds / seconds / cores as f64,
        turns / seeds,
    );
}

//! A stop of the demo pod at any moment, by any signal that asks for it.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::demo::machine;
use super::machine::RUNTIMES;
use super::process;
use super::run::{Ended, PATIENCE, Run, pause, poll_until};

/// When a stop is requested.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// As soon as the signal is taken: before anything is made.
    Ready,
    /// So long after it is taken, in milliseconds.
    After(u64),
    /// So many milliseconds after a line with this text.
    Line(&'static str, u64),
}

const MOMENTS: [Moment; 26] = [
    Moment::Ready,
    Moment::After(2),
    Moment::After(10),
    Moment::After(30),
    Moment::Line("pod demo: starting", 0),
    Moment::Line("* using ", 0),
    Moment::Line("* using ", 20),
    Moment::Line("demo/secret-fetch: started", 0),
    Moment::After(500),
    Moment::Line("demo/secret-fetch: completed", 0),
    Moment::Line("demo/secret-fetch: completed", 40),
    Moment::Line("demo/network-proxy: started", 0),
    Moment::After(1500),
    Moment::Line("demo/network-proxy: startup probe succeeded", 0),
    Moment::Line("demo/network-proxy: startup probe succeeded", 25),
    Moment::Line("demo/log-collector: started", 0),
    Moment::Line("demo/log-collector: started", 30),
    Moment::Line("demo/app: started", 0),
    Moment::Line("pod demo: Running", 0),
    Moment::After(4500),
    Moment::Line("demo/worker: completed", 0),
    Moment::Line("demo/app: completed", 0),
    Moment::Line("demo/log-collector: stopping", 0),
    Moment::Line("demo/log-collector: completed", 10),
    Moment::Line("demo/network-proxy: stopping", 0),
    Moment::Line("demo/network-proxy: completed", 0),
];

impl Moment {
    fn wait(self, run: &Run<'_>) {
        let millis = match self {
            Moment::Ready => 0,
            Moment::After(millis) => millis,
            Moment::Line(text, millis) => {
                run.wait_for(text);
                millis
            }
        };
        if matches!(self, Moment::Ready | Moment::After(_)) {
            wait_until_signals_are_taken(run);
        }
        if millis > 0 {
            pause(Duration::from_millis(millis));
        }
    }
}

fn wait_until_signals_are_taken(run: &Run<'_>) {
    let taken = || {
        let mask = process::status_line(run.pid(), "SigCgt").unwrap_or_default();
        u64::from_str_radix(&mask, 16).is_ok_and(|mask| mask >> (Signal::SIGTERM as u32 - 1) & 1 == 1)
    };
    assert!(poll_until(PATIENCE, taken), "it does not take SIGTERM");
}

/// That whoever had started was stopped after those who rely on it.
fn assert_ordered_stop(ended: &Ended, moment: Moment) {
    let text = ended.text();
    let position = |text: &str| ended.lines.iter().rposition(|line| line.text.contains(text));
    let gone = |name: &str| {
        let ends = ["completed", "exited with", "killed by", "gone"];
        ends.iter().filter_map(|end| position(&format!("demo/{name}: {end}"))).max()
    };
    for (stopped, before) in
        [("network-proxy", &["log-collector", "app", "worker"][..]), ("log-collector", &["app", "worker"])]
    {
        let Some(stopping) = position(&format!("* demo/{stopped}: stopping with")) else { continue };
        for name in before.iter().filter(|name| position(&format!("* demo/{name}: started")).is_some()) {
            let gone = gone(name).unwrap_or_else(|| panic!("{moment:?}: {name} did not end:\n{text}"));
            assert!(gone < stopping, "{moment:?}: {stopped} was stopped before {name} was gone:\n{text}");
        }
    }
    assert_eq!(ended.count("left behind"), 0, "{moment:?}:\n{text}");
    assert_eq!(ended.status, Some(0), "{moment:?}:\n{text}");
}

fn stop_demo_at(moment: Moment, signal: Signal, runtime: &str) {
    let machine = machine(runtime);
    let run = machine.run();
    moment.wait(&run);
    let asked = Instant::now();
    run.signal(signal);
    let ended = run.end();
    println!("{runtime}: {signal} at {moment:?}: gone after {:?}", ended.at - asked);
    assert_ordered_stop(&ended, moment);
}

#[test]
fn a_stop_at_any_moment_is_ordered_and_leaves_nothing() {
    for runtime in RUNTIMES {
        for moments in MOMENTS.chunks(7) {
            // Most of a run is waiting, so several at once.
            thread::scope(|scope| {
                for &moment in moments {
                    scope.spawn(move || stop_demo_at(moment, Signal::SIGTERM, runtime));
                }
            });
        }
    }
}

#[test]
fn other_signals_that_ask_for_an_end_stop_in_order_too() {
    thread::scope(|scope| {
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
            scope.spawn(move || stop_demo_at(Moment::Line("pod demo: Running", 100), signal, "crun"));
        }
    });
}

//! What is promised in figures.

use serde_json::{Value, json};

use super::arch::Arch;
use super::setup::Setup;

/// Proportional set of supervisor and log writer together with ten containers. Unit: kB. See
/// docs/budgets.md.
const PSS_MAX: u64 = 1000;

/// From the kernel's hand-over to the first main container: at most so many times what a script takes.
/// See docs/budgets.md.
const RATIO_MAX: f64 = 1.15;

/// QEMU counts time by the instructions of the machine, and skips what it sleeps: what else this host
/// does has no part in the figures, and the same boot takes the same time. With 16 ns each (shift 4) a
/// boot takes seconds, which the machine's clock tells to 10 ms.
const VIRTUAL_TIME: [&str; 2] = ["-icount", "shift=4,sleep=off"];

/// Boots of each kind; an odd number has a median. One is enough while they do not differ.
const BOOTS: usize = 1;

pub(crate) fn ten_containers_fit_into_the_memory_budget(arch: Arch) {
    let container = |nth: usize| {
        format!(
            "[[containers]]\nname = \"c{nth}\"\nrootfs = \"/srv/busybox\"\ncommand = [\"/bin/sleep\", \"100000\"]\n"
        )
    };
    let pod = format!(
        "name = \"crowd\"\ntermination-grace-period = \"1s\"\n{}",
        (0..10).map(container).collect::<String>()
    );
    let mut machine = Setup::new(arch).pod("crowd", &pod).shell().boot();
    machine.wait_for("* pod crowd: ready");
    let log_writer = machine.run(
        "for process in /proc/[0-9]*; do\n\
             tr '\\0' ' ' < $process/cmdline | grep -q '^outrigger log-writer' && echo ${process#/proc/}\n\
         done; true",
    );
    let mut sum = 0;
    for (name, pid) in [("supervisor", "1"), ("log writer", log_writer.as_str())] {
        let rollup = machine.run(&format!("cat /proc/{pid}/smaps_rollup"));
        let field = |name: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        println!("{arch:?}, 10 containers: {name}: RSS {} kB, PSS {} kB", field("Rss:"), field("Pss:"));
        sum += field("Pss:");
    }
    println!("{arch:?}, 10 containers: PSS together {sum} kB, budget {PSS_MAX} kB");
    assert!(sum <= PSS_MAX, "{sum} kB");
    machine.begin("poweroff");
    machine.wait_for_power_off();
}

/// An init container, a sidecar and a main container that says how long the machine runs.
const POD: &str = r#"
    name = "demo"
    termination-grace-period = "1s"
    [[init-containers]]
    name = "init"
    rootfs = "/srv/busybox"
    command = ["/bin/true"]
    [[init-containers]]
    name = "sidecar"
    restart-policy = "always"
    rootfs = "/srv/busybox"
    command = ["/bin/sleep", "100000"]
    [[containers]]
    name = "main"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", "read up rest < /proc/uptime; echo \"main is up at $up s\"; sleep 100000"]
"#;

/// What outrigger does before its pods, and then the same calls of crun, one after the other.
const SCRIPT: &str = r"
    mkdir /newroot
    mount --rbind / /newroot; cd /newroot; mount --move . /; exec chroot . /bin/sh /rest
";
const REST: &str = r"
    mount -t proc -o nosuid,nodev,noexec proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs dev /dev
    mkdir /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs shm /dev/shm
    mount -t tmpfs run /run
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    echo '+memory +cpu +pids' > /sys/fs/cgroup/cgroup.subtree_control
    exec < /dev/console > /dev/console 2>&1
    ip link set lo up
    crun() { /usr/bin/crun --cgroup-manager=cgroupfs --root /run/crun $*; }
    crun create --bundle /bundles/init --pid-file /run/init init
    crun start init
    while [ -d /proc/$(cat /run/init)/root/bin ]; do sleep 0.01; done
    crun delete init
    crun create --bundle /bundles/sidecar sidecar
    crun start sidecar
    crun create --bundle /bundles/main main
    crun start main
    while :; do sleep 1000; done
";

/// Seconds from the kernel's hand-over to the main container's first word.
fn time_to_main(setup: Setup) -> f64 {
    // The hand-over is said on the console only if it shows everything.
    let machine = setup.arguments(&VIRTUAL_TIME).append("loglevel=7").boot();
    let end = machine.wait_for("main is up at ");
    let end = machine.wait_for_after(end, " s\n");
    let text = machine.text();
    let line = text.lines().find(|line| line.contains("Run /init as init process")).unwrap();
    let handed_over: f64 = line.split(['[', ']']).nth(1).unwrap().trim().parse().unwrap();
    let up: f64 =
        text[..end].rsplit("main is up at ").next().unwrap().trim_end_matches(" s\n").parse().unwrap();
    up - handed_over
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The script's containers are those that outrigger makes of the pod, to the last setting.
pub(crate) fn the_first_main_container_is_nearly_as_quick_as_by_a_script(arch: Arch) {
    let mut machine = Setup::new(arch).pod("demo", POD).shell().boot();
    machine.wait_for("* pod demo: ready");
    let mut config: Value =
        serde_json::from_str(&machine.run("cat /run/outrigger/containers/demo.main/config.json")).unwrap();
    drop(machine);
    // The file for the last words of a container is outrigger's; the script's have one, too.
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["source"].as_str().is_some_and(|source| source.starts_with("/run/outrigger/")) {
            mount["source"] = json!("/bundles/message");
        }
    }
    let script = || {
        let mut setup =
            Setup::new(arch).script("init", SCRIPT).script("rest", REST).file("bundles/message", "");
        for (name, args) in [
            ("init", Some(json!(["/bin/true"]))),
            ("sidecar", Some(json!(["/bin/sleep", "100000"]))),
            ("main", None),
        ] {
            let mut config = config.clone();
            config["linux"]["cgroupsPath"] = json!(format!("/demo/{name}"));
            if let Some(args) = args {
                config["process"]["args"] = args;
            }
            setup = setup.file(&format!("bundles/{name}/config.json"), &config.to_string());
        }
        setup
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    println!("boot  script  outrigger   seconds from the kernel's hand-over to the main container");
    for nth in 1..=BOOTS {
        theirs.push(time_to_main(script()));
        ours.push(time_to_main(Setup::new(arch).pod("demo", POD)));
        println!("{nth:4}  {:6.2}  {:9.2}", theirs[nth - 1], ours[nth - 1]);
    }
    let (theirs, ours) = (median(theirs), median(ours));
    let ratio = ours / theirs;
    println!("{arch:?}: medians {theirs:.2} s and {ours:.2} s, ratio {ratio:.3}, at most {RATIO_MAX}");
    assert!(ratio <= RATIO_MAX, "{ratio:.3}");
}

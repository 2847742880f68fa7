//! The configuration from the outside: every mistake has its report, every example loads, and no
//! bytes make it panic.
//!
//! `UPDATE_EXPECTED=1 cargo test --test config` writes the expected files anew; read the
//! difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, but not what they call"
)]

mod golden;

use std::fs;
use std::path::{Path, PathBuf};

use outrigger::config::plan::{Capacity, HostProcess, Image, Plan, User, VolumeSource};
use outrigger::config::{self, Source};
use outrigger::limits;
use outrigger::outline::outline;

use self::golden::compare;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What is in a folder, sorted by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn source(path: &Path) -> Source {
    Source { name: file_name(path), bytes: fs::read(path).unwrap() }
}

fn text_source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn example(name: &str) -> Source {
    source(&folder("configs").join(name))
}

fn is_machine_file(source: &Source) -> bool {
    source.name.starts_with("machine-")
}

/// Loads files as they stand in a folder of mistakes. A machine file alone gets a pod that has
/// no mistake.
fn load(mut sources: Vec<Source>) -> Result<Plan, config::Problems> {
    let machine = sources.iter().position(is_machine_file).map(|position| sources.remove(position));
    if sources.is_empty() {
        sources.push(example("minimal.toml"));
    }
    config::load(machine.as_ref(), &sources)
}

fn load_texts(texts: &[&str]) -> Result<Plan, config::Problems> {
    let sources: Vec<Source> =
        texts.iter().enumerate().map(|(n, text)| text_source(&format!("{n}.toml"), text)).collect();
    config::load(None, &sources)
}

/// Every mistake: its files, and the file with its report.
fn mistakes() -> Vec<(Vec<Source>, PathBuf)> {
    let mut mistakes = Vec::new();
    for path in entries(&folder("tests/config_errors")) {
        if path.is_dir() {
            let files = entries(&path);
            let sources = files.iter().filter(|file| file.extension().is_some_and(|it| it == "toml"));
            mistakes.push((sources.map(|file| source(file)).collect(), path.join("expected")));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            mistakes.push((vec![source(&path)], path.with_extension("expected")));
        } else {
            let toml = path.with_extension("toml");
            assert!(toml.exists(), "{} has no {}", path.display(), toml.display());
        }
    }
    mistakes
}

#[test]
fn every_mistake_has_its_report() {
    let mut wrong = Vec::new();
    let mistakes = mistakes();
    assert!(mistakes.len() >= 45);
    for (sources, expected) in mistakes {
        match load(sources) {
            Ok(_) => wrong.push(format!("{}: no mistake was found", expected.display())),
            Err(problems) => wrong.extend(compare(&expected, &problems.to_string())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_report_counts_every_mistake_and_is_the_same_each_time() {
    for (sources, expected) in mistakes() {
        let problems = load(sources.clone()).unwrap_err();
        assert_eq!(problems, load(sources).unwrap_err(), "{}", expected.display());
        let report = problems.to_string();
        let shown = report.lines().filter(|line| line.starts_with("error: ")).count() - 1;
        assert_eq!(shown, problems.count(), "{}", expected.display());
        let helped = report.lines().filter(|line| line.trim_start().starts_with("= help: ")).count();
        assert_eq!(helped, shown, "{}: every mistake says how to mend it", expected.display());
    }
}

#[test]
fn reports_cannot_steer_the_terminal() {
    for (sources, expected) in mistakes() {
        let report = load(sources).unwrap_err().to_string();
        let control = report.chars().find(|letter| letter.is_control() && *letter != '\n');
        assert_eq!(control, None, "{}", expected.display());
    }
}

#[test]
fn examples_are_outlined() {
    let mut wrong = Vec::new();
    let machine = example("outrigger.toml");
    let cases: [(&str, &[&str]); 8] = [
        ("minimal", &["minimal.toml"]),
        ("gateway", &["gateway.toml"]),
        ("limits", &["limits.toml"]),
        ("host-process", &["host-process.toml"]),
        ("hooks", &["hooks.toml"]),
        ("several-pods", &["several/network.toml", "several/web.toml", "several/clock.toml"]),
        ("overhead", &["tests/outline/overhead.toml"]),
        ("restarts", &["tests/outline/restarts.toml"]),
    ];
    for (name, files) in cases {
        let files = files.iter().map(|file| match file.strip_prefix("several/") {
            Some(file) => source(&folder("tests/outline/several-pods").join(file)),
            None if file.starts_with("tests/") => source(&folder(file)),
            None => example(file),
        });
        let plan = config::load(Some(&machine), &files.collect::<Vec<_>>())
            .unwrap_or_else(|problems| panic!("{name}: {problems}"));
        wrong
            .extend(compare(&folder("tests/outline").join(name).with_extension("expected"), &outline(&plan)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_plan_for_a_known_machine_tells_what_of_it_is_requested() {
    let load = |machine: &str| {
        let pods = ["limits.toml", "minimal.toml"].map(example);
        config::load(Some(&text_source("machine.toml", machine)), &pods).unwrap()
    };
    for (machine, expected) in [
        ("", None),
        ("capacity = { memory = \"512Mi\" }", Some("64Mi of 512Mi memory")),
        (
            "capacity = { memory = \"512Mi\", cpu = 2 }\nreserved = { memory = \"64Mi\", cpu = \"500m\" }",
            Some("64Mi of 448Mi memory, 1 of 1500m cpu"),
        ),
    ] {
        let text = outline(&load(machine));
        let line = text.lines().find_map(|line| line.strip_prefix("requested by all pods: "));
        assert_eq!(line, expected, "{text}");
    }
}

#[test]
fn what_the_pods_request_must_be_there() {
    let pod = |resources: &str| {
        text_source(
            "pod.toml",
            &format!(
                "name = \"pod\"\n[[containers]]\nname = \"app\"\nrootfs = \"/srv\"\n\
                 command = [\"/bin/app\"]\nresources = {{ {resources} }}\n"
            ),
        )
    };
    // A megabyte and a half: what is found counts in whole mebibytes.
    let found = Capacity { memory: Some(1_500_000), cpu_millis: Some(2000) };
    let machine = |text: &str| text_source("machine.toml", text);
    for (resources, machine_file, expected) in [
        ("requests = { memory = \"1Mi\", cpu = 2 }", "", None),
        ("requests = { memory = 1048577 }", "", Some("more memory than")),
        ("limits = { cpu = \"2001m\" }", "", Some("more cpu than")),
        ("requests = { memory = \"2Mi\", cpu = 3 }", "", Some("more memory and cpu than")),
        // What may be used on top of a request was not promised.
        ("requests = { memory = 0, cpu = 0 }, limits = { memory = \"1Gi\", cpu = 8 }", "", None),
        ("limits = { pids = 100 }", "reserved = { memory = \"1Gi\", cpu = 9 }", None),
        ("requests = { memory = 1 }", "reserved = { memory = \"1Gi\" }", Some("more memory than")),
        ("requests = { memory = \"2Mi\" }", "capacity = { memory = \"2Mi\" }", None),
        ("requests = { cpu = 2 }", "capacity = { cpu = 1 }", Some("more cpu than")),
    ] {
        let loaded = config::load_for(found, Some(&machine(machine_file)), &[pod(resources)]);
        match (loaded, expected) {
            (Ok(plan), None) => assert!(plan.capacity.memory.is_some(), "{resources}"),
            (Err(problems), Some(expected)) => {
                assert!(problems.to_string().contains(expected), "{resources}: {problems}");
            }
            (Ok(_), Some(_)) => panic!("{resources}, {machine_file}: was admitted"),
            (Err(problems), None) => panic!("{resources}, {machine_file}: {problems}"),
        }
        // Of a machine that nobody knows nothing is said.
        assert!(config::load(None, &[pod(resources)]).is_ok(), "{resources}");
    }
}

#[test]
fn the_machine_example_shows_the_defaults() {
    let pods = [example("minimal.toml")];
    let with = config::load(Some(&example("outrigger.toml")), &pods).unwrap();
    let without = config::load(None, &pods).unwrap();
    // What is there without these two depends on the machine.
    assert_eq!(with.machine.runtime.as_deref(), Some("crun"));
    assert_eq!(with.machine.cgroup_root.as_deref(), Some("/outrigger"));
    let mut expected = without;
    expected.machine.runtime = with.machine.runtime.clone();
    expected.machine.cgroup_root = with.machine.cgroup_root.clone();
    assert_eq!(with, expected);
}

#[test]
fn the_machine_example_has_every_key() {
    let text = fs::read_to_string(folder("configs/outrigger.toml")).unwrap();
    let names = ["the machine file", "a file system", "`boot`", "`watchdog`", "`shutdown`", "`rescue`"];
    for table in config::TABLES.iter().filter(|table| names.contains(&table.name)) {
        for key in table.keys {
            // What has no default stands in a comment.
            let shown = text.lines().map(|line| line.trim_start_matches("#   "));
            let starts = [format!("{key} = "), format!("[{key}]")];
            let found = shown.into_iter().any(|line| starts.iter().any(|start| line.starts_with(start)));
            assert!(found, "{}: {key}", table.name);
        }
    }
}

#[test]
fn every_key_is_documented_below_its_table() {
    let text = fs::read_to_string(folder("docs/config.md")).unwrap();
    let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
    for table in config::TABLES {
        let plain = table.name.replace('`', "");
        let section = sections.iter().find(|section| section.lines().next() == Some(table.name));
        let section = section.unwrap_or_else(|| panic!("docs/config.md has no section `## {}`", table.name));
        for key in table.keys {
            assert!(section.contains(&format!("\n| `{key}` |")), "docs/config.md: {plain} lacks `{key}`");
        }
        let rows = section.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, table.keys.len(), "docs/config.md: {plain} describes a key that there is not");
    }
}

const APP: &str = "[[containers]]\nname = \"app\"\nrootfs = \"/srv/app\"\ncommand = [\"/bin/app\"]\n";

#[test]
fn pods_stand_behind_those_they_wait_for_and_else_as_given() {
    let pod = |name: &str, after: &str| format!("name = \"{name}\"\nafter = [{after}]\n{APP}");
    let texts = [pod("d", "\"b\", \"a\""), pod("c", ""), pod("b", "\"a\""), pod("a", ""), pod("e", "")];
    let plan = load_texts(&texts.each_ref().map(String::as_str)).unwrap();
    let names: Vec<&str> = plan.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["c", "a", "b", "d", "e"]);
    for (index, pod) in plan.pods.iter().enumerate() {
        assert!(pod.after.iter().all(|after| after.index() < index));
        let own = &plan.containers[pod.containers()];
        assert!(own.iter().all(|container| container.pod.index() == index));
    }
    assert_eq!(plan.pods[3].after.iter().map(|id| id.index()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_small_container_gets_the_defaults() {
    let plan = load_texts(&[&format!("name = \"web\"\n{APP}")]).unwrap();
    let Image::Rootfs(rootfs) = &plan.containers[0].image else { panic!("a rootfs was given") };
    assert_eq!(rootfs.args, ["/bin/app"]);
    assert!(rootfs.read_only);
    assert_eq!(rootfs.working_directory, "/");
    assert_eq!((rootfs.user.uid, rootfs.user.gid), (0, 0));
    assert_eq!(rootfs.capabilities, ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    assert_eq!(rootfs.hostname, "web");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(rootfs.env, [("PATH".to_owned(), path.to_owned())]);
}

#[test]
fn variables_are_replaced_in_the_order_of_the_file() {
    let text = format!(
        "name = \"web\"\n{APP}args = [\"$(URL)\", \"$$(URL)\", \"$(NONE)\"]\n\
         [containers.env]\nZ = \"1\"\nURL = \"$(Z)-$(A)\"\nA = \"$(Z)\"\nPATH = \"/bin\"\n\
         [containers.liveness-probe]\nexec = {{ command = [\"/check\", \"$(A)\"] }}\n"
    );
    let plan = load_texts(&[&text]).unwrap();
    let Image::Rootfs(rootfs) = &plan.containers[0].image else { panic!("a rootfs was given") };
    assert_eq!(rootfs.args, ["/bin/app", "1-$(A)", "$(URL)", "$(NONE)"]);
    let env: Vec<String> = rootfs.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["Z=1", "URL=1-$(A)", "A=1", "PATH=/bin"]);
    let liveness = plan.containers[0].probes.liveness.as_ref().unwrap();
    assert_eq!(format!("{:?}", liveness.check), "Exec { command: [\"/check\", \"1\"] }");
}

#[test]
fn a_host_process_has_its_program_and_nothing_of_its_pods_surroundings() {
    let text = "name = \"base\"\nnetwork = \"none\"\nhostname = \"there\"\n\
        [[containers]]\nname = \"dhcp\"\nhost-process = true\ncommand = [\"udhcpc\", \"$(I)\"]\n\
        args = [\"-f\"]\nenv = { I = \"eth0\" }\n\
        liveness-probe = { exec = { command = [\"check\", \"$(I)\"] } }\n\
        [[containers]]\nname = \"clock\"\nhost-process = true\ncommand = [\"/sbin/ntpd\"]\n\
        user = \"7:8\"\nworking-directory = \"/run\"\nenv = { PATH = \"/sbin\" }\n";
    let plan = load_texts(&[text]).unwrap();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let owned = |words: &[(&str, &str)]| -> Vec<(String, String)> {
        words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let dhcp = HostProcess {
        args: vec!["udhcpc".to_owned(), "eth0".to_owned(), "-f".to_owned()],
        env: owned(&[("PATH", path), ("I", "eth0")]),
        working_directory: "/".to_owned(),
        user: User { uid: 0, gid: 0 },
    };
    let clock = HostProcess {
        args: vec!["/sbin/ntpd".to_owned()],
        env: owned(&[("PATH", "/sbin")]),
        working_directory: "/run".to_owned(),
        user: User { uid: 7, gid: 8 },
    };
    assert_eq!(plan.containers[0].image, Image::HostProcess(Box::new(dhcp)));
    assert_eq!(plan.containers[1].image, Image::HostProcess(Box::new(clock)));
    let liveness = plan.containers[0].probes.liveness.as_ref().unwrap();
    assert_eq!(format!("{:?}", liveness.check), "Exec { command: [\"check\", \"eth0\"] }");
}

#[test]
fn capabilities_are_those_of_a_security_context() {
    let cases = [
        ("{}", "AUDIT_WRITE KILL NET_BIND_SERVICE"),
        ("{ drop = [\"ALL\"] }", ""),
        ("{ drop = [\"ALL\"], add = [\"cap_net_raw\", \"NET_ADMIN\"] }", "NET_ADMIN NET_RAW"),
        ("{ add = [\"Sys_Time\"], drop = [\"CAP_KILL\"] }", "AUDIT_WRITE NET_BIND_SERVICE SYS_TIME"),
    ];
    for (written, expected) in cases {
        let plan = load_texts(&[&format!("name = \"web\"\n{APP}capabilities = {written}\n")]).unwrap();
        let Image::Rootfs(rootfs) = &plan.containers[0].image else { panic!("a rootfs was given") };
        let expected: Vec<String> = expected.split_whitespace().map(|name| format!("CAP_{name}")).collect();
        assert_eq!(rootfs.capabilities, expected, "{written}");
    }
    let plan = load_texts(&[&format!(
        "name = \"web\"\n{APP}capabilities = {{ add = [\"ALL\"], drop = [\"BPF\"] }}\n"
    )]);
    let Image::Rootfs(rootfs) = &plan.unwrap().containers[0].image.clone() else {
        panic!("a rootfs was given")
    };
    assert_eq!(rootfs.capabilities.len(), 40);
}

#[test]
fn volumes_mounts_and_devices_arrive() {
    let text = format!(
        "name = \"web\"\nvolumes = [{{ name = \"a\", memory = \"1Mi\" }}, {{ name = \"b\", empty = true }}]\n\
         {APP}mounts = [{{ volume = \"b\", path = \"/x/./y/\", read-only = true }}]\n\
         devices = [\"/dev/null\", {{ path = \"/dev/ttyS0\", container-path = \"/dev/bus\", permissions = \"wr\" }}]\n"
    );
    let plan = load_texts(&[&text]).unwrap();
    assert_eq!(plan.pods[0].volumes[0].source, VolumeSource::Memory { bytes: 1 << 20 });
    let Image::Rootfs(rootfs) = &plan.containers[0].image else { panic!("a rootfs was given") };
    let mount = &rootfs.mounts[0];
    assert_eq!((mount.volume, mount.path.as_str(), mount.read_only), (1, "/x/y", true));
    let devices: Vec<String> = rootfs
        .devices
        .iter()
        .map(|device| format!("{} {} {}", device.path.display(), device.container_path, device.permissions))
        .collect();
    assert_eq!(devices, ["/dev/null /dev/null rw", "/dev/ttyS0 /dev/bus rw"]);
}

#[test]
fn the_grace_period_of_zero_is_a_second() {
    let plan = load_texts(&[&format!("name = \"web\"\ntermination-grace-period = \"0s\"\n{APP}")]).unwrap();
    assert_eq!(plan.pods[0].termination_grace_period.as_secs(), 1);
}

#[test]
fn a_pod_replaces_the_pauses_of_the_machine_one_by_one() {
    let machine = text_source("outrigger.toml", "restart-backoff = { initial = \"1s\", max = \"20s\" }");
    let pod =
        text_source("web.toml", &format!("name = \"web\"\nrestart-backoff = {{ max = \"5s\" }}\n{APP}"));
    let plan = config::load(Some(&machine), core::slice::from_ref(&pod)).unwrap();
    let backoff = plan.pods[0].restart_backoff;
    assert_eq!([backoff.initial, backoff.max, backoff.reset].map(|pause| pause.as_secs()), [1, 5, 600]);
    let plan = config::load(None, &[pod]).unwrap();
    let backoff = plan.pods[0].restart_backoff;
    assert_eq!([backoff.initial, backoff.max].map(|pause| pause.as_secs()), [5, 5], "the default gives way");
}

/// Kubernetes' own example of the sidecar formula, for requests and limits.
#[test]
fn pod_resources_follow_the_sidecar_formula() {
    let mut text = "name = \"web\"\n".to_owned();
    for (name, sidecar, cpu) in [
        ("init-1", false, 5),
        ("sidecar-1", true, 1),
        ("sidecar-2", true, 2),
        ("init-2", false, 5),
        ("sidecar-3", true, 3),
    ] {
        let policy = if sidecar { "restart-policy = \"always\"\n" } else { "" };
        text += &format!(
            "[[init-containers]]\nname = \"{name}\"\nbundle = \"/b\"\n{policy}resources.limits.cpu = {cpu}\n"
        );
    }
    text += "[[containers]]\nname = \"main\"\nbundle = \"/b\"\nresources.limits = { cpu = 1, memory = \"1Mi\" }\n";
    let plan = load_texts(&[&text]).unwrap();
    let resources = plan.pods[0].resources;
    assert_eq!(resources.requests.cpu_millis, Some(8000));
    assert_eq!(resources.limits.cpu_millis, Some(8000));
    assert_eq!(resources.requests.memory, Some(1 << 20));
    assert_eq!(resources.limits.memory, None);
}

#[test]
fn pod_level_resources_replace_the_computed_ones() {
    let container = "resources = { requests = { memory = \"4Mi\" } }";
    let cases = [
        ("requests = { memory = \"8Mi\" }", Some(8), None),
        ("limits = { memory = \"16Mi\" }", Some(4), Some(16)),
        ("requests = { memory = \"8Mi\" }, limits = { memory = \"16Mi\" }", Some(8), Some(16)),
        ("limits = { pids = 5 }", Some(4), None),
    ];
    for (own, request, limit) in cases {
        let plan =
            load_texts(&[&format!("name = \"web\"\nresources = {{ {own} }}\n{APP}{container}\n")]).unwrap();
        let mebibytes = |amount: Option<u64>| amount.map(|bytes| bytes >> 20);
        let resources = plan.pods[0].resources;
        assert_eq!(
            (mebibytes(resources.requests.memory), mebibytes(resources.limits.memory)),
            (request, limit)
        );
    }
    let plan =
        load_texts(&[&format!("name = \"web\"\nresources = {{ limits = {{ cpu = 2 }} }}\n{APP}")]).unwrap();
    assert_eq!(plan.pods[0].resources.requests.cpu_millis, Some(2000));
}

#[test]
fn without_pods_there_is_nothing_to_load() {
    let problems = config::load(None, &[]).unwrap_err();
    assert_eq!(problems.count(), 1);
    assert!(problems.to_string().starts_with("error: there is no pod to run\n"), "{problems}");
}

#[test]
fn more_than_the_plan_holds_is_refused() {
    let pods = |count: usize, containers: usize| -> Vec<Source> {
        let text = |pod: usize| {
            let container = |n: usize| format!("[[containers]]\nname = \"c{n}\"\nbundle = \"/b\"\n");
            let containers: String = (0..containers).map(container).collect();
            format!("name = \"p{pod}\"\n{containers}")
        };
        (0..count).map(|pod| text_source(&format!("p{pod}.toml"), &text(pod))).collect()
    };
    assert!(config::load(None, &pods(limits::PODS_MAX, 1)).is_ok());
    assert!(config::load(None, &pods(4, 64)).is_ok());
    let cases = [
        (limits::PODS_MAX + 1, 1, "error: there are 65 pods\n --> p64.toml:1:8\n"),
        (300, 1, "error: there are 300 pods\n --> p64.toml:1:8\n"),
        (5, 60, "error: there are 300 containers in all pods\n --> p4.toml:1:8\n"),
    ];
    for (count, containers, beginning) in cases {
        let report = config::load(None, &pods(count, containers)).unwrap_err().to_string();
        assert!(report.starts_with(beginning), "{report}");
    }
}

#[test]
fn a_large_file_is_refused_unread() {
    let mut text = format!("name = \"web\"\n{APP}");
    text += &"#".repeat(limits::FILE_BYTES_MAX - text.len());
    assert!(load_texts(&[&text]).is_ok());
    let problems = load_texts(&[&(text + "#")]).unwrap_err();
    assert!(problems.to_string().starts_with("error: `0.toml` has 262145 bytes\n"), "{problems}");
    assert_eq!(problems.count(), 1);
}

#[test]
fn of_a_large_file_only_the_first_mistake_of_syntax_is_told() {
    let lines = |count: usize| format!("name = \"web\"\n{APP}{}", "user = root\n".repeat(count));
    let count = |text: &str| load_texts(&[text]).unwrap_err().count();
    assert_eq!(count(&lines(50)), 50);
    assert_eq!(count(&lines(10_000)), 1);
}

#[test]
fn a_long_report_is_cut_and_counts_on() {
    let keys: String = (0..250).map(|n| format!("strange-{n} = 1\n")).collect();
    let problems = load_texts(&[&format!("name = \"web\"\n{keys}{APP}")]).unwrap_err();
    let report = problems.to_string();
    assert_eq!(problems.count(), 250);
    assert_eq!(report.matches("error: unknown key").count(), 100);
    assert!(report.ends_with("... and 150 more\n\nerror: cannot use this configuration: 250 mistakes\n"));
}

/// All that is at hand, as machine file and as pod file.
fn inputs() -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = ["minimal.toml", "gateway.toml", "limits.toml", "outrigger.toml"]
        .map(|name| example(name).bytes)
        .to_vec();
    inputs.extend(mistakes().into_iter().flat_map(|(sources, _)| sources).map(|source| source.bytes));
    inputs
}

/// Loads bytes in both places; whatever comes out must be of use.
fn load_anyhow(bytes: &[u8]) {
    let file = Source { name: "any.toml".to_owned(), bytes: bytes.to_vec() };
    match config::load(Some(&file), &[file.clone(), example("minimal.toml")]) {
        Ok(plan) => assert!(outline(&plan).ends_with('\n')),
        Err(problems) => assert!(problems.count() > 0 && problems.to_string().ends_with('\n')),
    }
    if let Ok(plan) = config::load(None, &[file]) {
        assert!(!plan.pods[0].main_containers.is_empty());
        assert!(outline(&plan).starts_with("pod "));
    }
}

#[test]
fn every_beginning_of_an_example_is_survived() {
    for name in ["minimal.toml", "gateway.toml", "limits.toml", "outrigger.toml"] {
        let bytes = example(name).bytes;
        for end in 0..=bytes.len() {
            load_anyhow(&bytes[..end]);
        }
    }
}

#[test]
fn damaged_bytes_are_survived() {
    // xorshift: small, and the same on every machine.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below.max(1)).unwrap()).unwrap()
    };
    let inputs = inputs();
    let tokens: [&[u8]; 14] = [
        b"\"",
        b"'''",
        b"[",
        b"]]",
        b"{",
        b"}",
        b"=",
        b"\n",
        b"\0",
        b"\xff",
        b"99999999999999999999",
        b".",
        b"# ",
        b"-",
    ];
    for _ in 0..3000 {
        let mut bytes = inputs[random(inputs.len())].clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len() + 1);
            match random(4) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random(8),
                1 => drop(bytes.splice(at..at, tokens[random(tokens.len())].iter().copied())),
                2 => drop(bytes.drain(at..(at + random(20)).min(bytes.len()))),
                _ => {
                    let from = random(bytes.len() + 1);
                    let piece = bytes[from..(from + random(60)).min(bytes.len())].to_vec();
                    drop(bytes.splice(at..at, piece));
                }
            }
        }
        load_anyhow(&bytes);
    }
}

#[test]
fn hostile_files_are_survived() {
    let long = |piece: &str| piece.repeat(limits::FILE_BYTES_MAX / piece.len() / 8);
    let cases = [
        long("="),
        "=\n".repeat(1000),
        long("["),
        long("a = ["),
        long("a = {"),
        long("a."),
        long("\""),
        long("\n"),
        long("[[containers]]\n"),
        long("[[volumes]]\nname = \"a\"\n"),
        format!("after = [{}]", long("\"a\",")),
        format!("name = \"{}\"", long("a")),
        format!("[{}]", long("a.")),
        "\u{feff}name = 1".to_owned(),
        format!("termination-grace-period = {}", long("9")),
        format!("termination-grace-period = \"{}s\"", long("9")),
    ];
    for text in cases {
        load_anyhow(text.as_bytes());
    }
}

//! What a container finds around it when the pod file says little, and when it says much.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::machine::{Machine, RUNTIMES, free_port};
use super::mount_namespace::layouts;
use super::run::Ended;

/// To tell a fact, one a line: `fact <name> <value>`.
const FUNCTIONS: &str = r#"
fact() { echo "fact $*"; }
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then fact "$name" yes; else fact "$name" no; fi; }
"#;

const TELLER: &str = r#"
for key in NoNewPrivs CapInh CapPrm CapEff CapBnd CapAmb; do
    fact $key $(grep "^$key:" /proc/self/status | cut -f 2)
done
try writes-root sh -c 'echo x > /file'
try writes-null sh -c 'echo x > /dev/null'
try writes-sysctl sh -c 'echo x > /proc/sys/kernel/domainname'
fact kcore $(cat /proc/kcore 2>/dev/null | busybox head -c 10 | wc -c)
fact timer-list $(cat /proc/timer_list 2>/dev/null | wc -c)
fact firmware $(ls -A /sys/firmware 2>/dev/null | wc -l)
fact user $(id -u):$(id -g)
fact greeting "$GREETING"
fact nested "$NESTED"
fact others "$(env | cut -d = -f 1 | grep -v -x -E 'PATH|GREETING|NESTED|PWD|SHLVL|HOME|OLDPWD|_' | tr '\n' ' ')"
fact directory $(pwd)
fact hostname $(hostname)
fact args "$*"
fact umask $(umask)
fact network $(readlink /proc/self/ns/net)
fact links "$(ip -o link | cut -d : -f 2 | tr -d '\n')"
fact lo-up $(ip -o link show lo | grep -c 'LOWER_UP')
fact first-process $$
fact stdin "$(cat | wc -c)"
fact descriptors "$(ls /proc/self/fd | tr '\n' ' ')"
fact shm $(stat -c %a /dev/shm)
"#;

/// Runs a pod whose containers can execute `/demo/app`, which is [`TELLER`], and `/demo/more`,
/// which tells what `further` finds out.
fn run(runtime: &str, wrapper: &[&str], further: &str, pod: &str) -> (Machine, BTreeMap<String, String>) {
    let mut machine = Machine::new(runtime);
    machine.wrap(wrapper);
    machine.script("app", &format!("{FUNCTIONS}{TELLER}"));
    machine.script("more", &format!("{FUNCTIONS}{further}"));
    fs::create_dir(machine.path("host-data")).unwrap();
    fs::write(machine.path("host-data/file"), "from the host").unwrap();
    machine.pod("test", pod);
    let ended = machine.run().end();
    ended.assert_status(0);
    let facts = facts(&ended);
    (machine, facts)
}

fn facts(ended: &Ended) -> BTreeMap<String, String> {
    let told = ended.lines.iter().filter_map(|line| Some(line.text.split_once("| fact ")?.1));
    let split = |fact: &str| {
        let (name, value) = fact.split_once(' ').unwrap_or((fact, ""));
        (name.to_owned(), value.trim().to_owned())
    };
    told.map(split).collect()
}

fn assert_facts(runtime: &str, facts: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let found = facts.get(*name).map_or("(not told)", String::as_str);
        assert_eq!(found, *value, "{runtime}: {name}, among {facts:#?}");
    }
}

/// `AUDIT_WRITE`, `KILL` and `NET_BIND_SERVICE`.
const DEFAULT_CAPABILITIES: &str = "0000000020000420";
const NONE: &str = "0000000000000000";

#[test]
fn a_container_of_few_words_is_a_strict_one() {
    for (host, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let pod = r#"
                name = "test"
                restart-policy = "never"
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app", "one"]
                args = ["two words"]
            "#;
            let (_machine, facts) = run(runtime, wrapper, "", pod);
            let network = fs::read_link("/proc/self/ns/net").unwrap();
            assert_facts(
                &format!("{runtime}, {host}"),
                &facts,
                &[
                    ("NoNewPrivs", "1"),
                    ("CapInh", NONE),
                    ("CapPrm", DEFAULT_CAPABILITIES),
                    ("CapEff", DEFAULT_CAPABILITIES),
                    ("CapBnd", DEFAULT_CAPABILITIES),
                    ("CapAmb", NONE),
                    ("writes-root", "no"),
                    ("writes-null", "yes"),
                    ("writes-sysctl", "no"),
                    ("kcore", "0"),
                    ("timer-list", "0"),
                    ("firmware", "0"),
                    ("user", "0:0"),
                    ("others", ""),
                    ("directory", "/"),
                    ("hostname", "test"),
                    ("args", "one two words"),
                    ("umask", "0022"),
                    ("network", network.to_str().unwrap()),
                    ("first-process", "1"),
                    ("stdin", "0"),
                    ("descriptors", "0 1 2 3"),
                    ("shm", "1777"),
                ],
            );
        }
    }
}

#[test]
fn a_container_of_many_words_has_all_of_them() {
    for (host, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let pod = r#"
                name = "test"
                restart-policy = "never"
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                user = "1000:1001"
                env = { GREETING = "hello", NESTED = "$(GREETING) you" }
                working-directory = "/tmp"
                hostname = "box"
                network = "none"
                read-only-rootfs = false
                capabilities = { add = ["NET_ADMIN"], drop = ["ALL"] }
            "#;
            let (_machine, facts) = run(runtime, wrapper, "", pod);
            let network = fs::read_link("/proc/self/ns/net").unwrap();
            let (title, net_admin) = (format!("{runtime}, {host}"), "0000000000001000");
            assert_facts(
                &title,
                &facts,
                &[
                    ("NoNewPrivs", "1"),
                    ("CapInh", net_admin),
                    ("CapPrm", net_admin),
                    ("CapEff", net_admin),
                    ("CapBnd", net_admin),
                    ("CapAmb", net_admin),
                    ("writes-null", "yes"),
                    ("user", "1000:1001"),
                    ("greeting", "hello"),
                    ("nested", "hello you"),
                    ("directory", "/tmp"),
                    ("hostname", "box"),
                    ("links", "lo"),
                    ("lo-up", "1"),
                ],
            );
            assert_ne!(facts["network"], network.to_str().unwrap(), "{title}");
        }
    }
}

#[test]
fn a_root_file_system_can_be_writable() {
    for runtime in RUNTIMES {
        let pod = r#"
            name = "test"
            restart-policy = "never"
            [[containers]]
            name = "app"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
            read-only-rootfs = false
        "#;
        let (machine, facts) = run(runtime, &[], "", pod);
        assert_facts(runtime, &facts, &[("writes-root", "yes"), ("writes-sysctl", "no")]);
        assert!(machine.path("rootfs/file").exists());
    }
}

#[test]
fn volumes_are_as_large_and_as_writable_as_they_are_described() {
    for (host, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let further = r#"
                dd if=/dev/zero of=/data/large bs=64k count=64 2>/dev/null
                fact memory-size $(stat -c %s /data/large)
                try empty sh -c 'echo x > /other/file'
                try empty-size dd if=/dev/zero of=/other/large bs=64k count=64
                fact host-file "$(cat /tmp/file)"
                try host-writes sh -c 'echo x > /tmp/new'
                try memory-suid sh -c '! grep -q " /data tmpfs .*nosuid" /proc/mounts'
                try read-only-again sh -c 'echo x > /logs/new'
            "#;
            let pod = r#"
                name = "test"
                restart-policy = "never"
                volumes = [
                    { name = "memory", memory = "1Mi" },
                    { name = "empty", empty = true },
                    { name = "host", host-path = "DIRECTORY/host-data" },
                ]
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/more"]
                mounts = [
                    { volume = "memory", path = "/data" },
                    { volume = "empty", path = "/other" },
                    { volume = "host", path = "/tmp", read-only = true },
                    { volume = "empty", path = "/logs", read-only = true },
                ]
            "#;
            let (machine, facts) = run(runtime, wrapper, further, pod);
            assert_facts(
                &format!("{runtime}, {host}"),
                &facts,
                &[
                    ("memory-size", "1048576"),
                    ("memory-suid", "no"),
                    ("empty", "yes"),
                    ("empty-size", "yes"),
                    ("host-file", "from the host"),
                    ("host-writes", "no"),
                    ("read-only-again", "no"),
                ],
            );
            assert!(!machine.path("host-data/new").exists());
        }
    }
}

#[test]
fn a_device_of_the_host_is_given_with_its_number() {
    let candidates = ["/dev/fuse", "/dev/net/tun", "/dev/loop0", "/dev/kmsg"];
    let device = candidates.into_iter().find(|path| Path::new(path).exists()).expect("no device to give");
    for (host, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let further = format!(
                "fact same $(stat -c %t:%T:%F {device})\nfact other $(stat -c %t:%T:%F /dev/renamed)\n\
                 try opens dd if={device} of=/dev/null count=0\ntry makes busybox mknod /data/node c 1 11\n\
                 try not-given test -e /dev/loop-control"
            );
            let pod = format!(
                r#"
                    name = "test"
                    restart-policy = "never"
                    [[containers]]
                    name = "app"
                    rootfs = "ROOTFS"
                    command = ["/demo/more"]
                    read-only-rootfs = false
                    devices = ["{device}", {{ path = "{device}", container-path = "/dev/renamed", permissions = "r" }}]
                "#
            );
            let (_machine, facts) = run(runtime, wrapper, &further, &pod);
            let stat = std::process::Command::new("stat").args(["-c", "%t:%T:%F", device]).output().unwrap();
            let expected = String::from_utf8(stat.stdout).unwrap();
            let expected = expected.trim();
            let title = format!("{runtime}, {host}, {device}");
            let expected = [
                ("same", expected),
                ("other", expected),
                ("opens", "yes"),
                ("makes", "no"),
                ("not-given", "no"),
            ];
            assert_facts(&title, &facts, &expected);
        }
    }
}

#[test]
fn containers_of_a_pod_without_network_reach_each_other_and_nobody_else() {
    for (_host, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let mut machine = Machine::new(runtime);
            machine.wrap(wrapper);
            machine.script(
                "server",
                "mkdir /dev/shm/www; echo hello > /dev/shm/www/index.html\n\
                 exec httpd -f -p 127.0.0.1:8080 -h /dev/shm/www",
            );
            machine.script(
                "app",
                "echo \"fact page $(wget -q -O - http://127.0.0.1:8080/)\"\n\
                 echo \"fact host $(wget -q -O - http://127.0.0.1:$1/ 2>/dev/null || echo refused)\"",
            );
            // Somebody who listens on the host's loopback.
            let port = free_port();
            let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
            machine.pod(
                "test",
                &format!(
                    r#"
                        name = "test"
                        restart-policy = "never"
                        network = "none"
                        termination-grace-period = "2s"
                        [[init-containers]]
                        name = "server"
                        restart-policy = "always"
                        rootfs = "ROOTFS"
                        command = ["/demo/server"]
                        startup-probe = {{ http-get = {{ port = 8080 }}, period = "50ms", failure-threshold = 1000 }}
                        [[containers]]
                        name = "app"
                        rootfs = "ROOTFS"
                        command = ["/demo/app", "{port}"]
                    "#
                ),
            );
            let ended = machine.run().end();
            ended.assert_has("test/server: startup probe succeeded");
            ended.assert_has("| fact page hello");
            ended.assert_has("| fact host refused");
            ended.assert_status(0);
        }
    }
}

//! Containers that say themselves that they have started and are well.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;

use super::machine::{Machine, RUNTIMES};
use super::mount_namespace::layouts;

/// Says what the files in `/data` tell it to: `ready` once it is there, then that it is well as
/// long as `hang` is not.
const SPEAKER: &str = r#"
use Socket;
my ($data) = @ARGV;
$SIG{TERM} = sub { exit 0 };
sub say_it { send($s, $_[0], 0) or die "send: $!" }
sub nap { select(undef, undef, undef, 0.02) }
socket($s, PF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
connect($s, sockaddr_un($ENV{NOTIFY_SOCKET})) or die "connect $ENV{NOTIFY_SOCKET}: $!";
$| = 1;
print "speaks to $ENV{NOTIFY_SOCKET} every $ENV{WATCHDOG_USEC}\n";
say_it("STATUS=waiting\nWATCHDOG=1");
nap() while !-e "$data/ready";
say_it("READY=1");
while (!-e "$data/hang") { say_it("WATCHDOG=1"); nap() }
print "hangs\n";
sleep 1000 while 1;
"#;

fn machine(runtime: &str, container: &str) -> Machine {
    let mut machine = Machine::new(runtime);
    machine.set("restart-backoff = { initial = \"0s\", max = \"0s\" }");
    let rootfs = machine.path("rootfs");
    fs::write(rootfs.join("demo/speaker.pl"), SPEAKER).unwrap();
    fs::create_dir(rootfs.join("usr")).or_else(|_| fs::metadata(rootfs.join("usr")).map(drop)).unwrap();
    for library in ["lib", "lib64"] {
        if !rootfs.join(library).exists() {
            symlink(format!("usr/{library}"), rootfs.join(library)).unwrap();
        }
    }
    fs::create_dir(machine.path("shared")).unwrap();
    machine.pod(
        "test",
        &format!(
            r#"
                name = "test"
                termination-grace-period = "2s"
                volumes = [{{ name = "shared", host-path = "DIRECTORY/shared" }}, {{ name = "usr", host-path = "/usr" }}]
                [[init-containers]]
                name = "speaker"
                restart-policy = "always"
                notify = true
                watchdog-timeout = "1500ms"
                {container}
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/bin/sleep", "1000"]
            "#
        ),
    );
    machine
}

const INSIDE: &str = r#"
    rootfs = "ROOTFS"
    command = ["/usr/bin/perl", "/demo/speaker.pl", "/data"]
    user = "1000"
    mounts = [{ volume = "shared", path = "/data" }, { volume = "usr", path = "/usr", read-only = true }]
"#;

const ON_HOST: &str = r#"
    host-process = true
    command = ["/usr/bin/perl", "DIRECTORY/rootfs/demo/speaker.pl", "DIRECTORY/shared"]
"#;

/// Gated by `READY=1`, restarted when it says nothing more, and again ready after that.
fn check(machine: &Machine, path: &str) {
    let run = machine.run();
    let speaks = run.wait_for("| speaks to ");
    let text = run.line(speaks).text;
    assert!(text.contains(path) && text.ends_with("every 1500000"), "{text}");
    // What waits for it has not begun: it comes after what is only now made true.
    fs::write(machine.path("shared/ready"), "").unwrap();
    let ready = run.wait_for_after(speaks, "test/speaker: says that it is ready");
    run.wait_for_after(ready, "test/app: started");
    fs::write(machine.path("shared/hang"), "").unwrap();
    let hung = run
        .wait_for_after(ready, "test/speaker: not alive, as if its liveness probe had failed: no WATCHDOG=1");
    fs::remove_file(machine.path("shared/hang")).unwrap();
    let again = run.wait_for_after(hung, "test/speaker: started (sidecar), ");
    run.wait_for_after(again, "test/speaker: says that it is ready");
    let ended = run.stop();
    ended.assert_status(0);
    let started = ended.lines.iter().position(|line| line.text.contains("test/app: started")).unwrap();
    let said = ended.lines.iter().position(|line| line.text.contains("says that it is ready")).unwrap();
    assert!(said < started, "{}", ended.text());
}

#[test]
fn a_container_that_says_it_is_ready_gates_and_is_watched() {
    for (_, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let mut machine = machine(runtime, INSIDE);
            machine.wrap(wrapper);
            check(&machine, "/dev/notify-socket");
        }
    }
}

#[test]
fn a_host_process_that_says_it_is_ready_gates_and_is_watched() {
    check(&machine("crun", ON_HOST), "/notify/0/socket");
}

#[test]
fn a_host_process_of_another_user_finds_its_socket_whatever_our_umask_is() {
    let mut machine = machine("crun", &format!("{ON_HOST}\nuser = \"1234:5678\""));
    machine.wrap(&["/bin/sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    machine.set_state("made/anew/state");
    fs::set_permissions(machine.path(""), fs::Permissions::from_mode(0o711)).unwrap();
    check(&machine, "/notify/0/socket");
}

#[test]
fn what_others_say_is_ignored_and_told_once() {
    let machine = machine("crun", ON_HOST);
    let run = machine.run();
    run.wait_for("| speaks to ");
    let stranger = UnixDatagram::unbound().unwrap();
    for _ in 0..50 {
        stranger.send_to(b"READY=1", machine.state().join("notify/0/socket")).unwrap();
    }
    let own = std::process::id();
    let told = run.wait_for(&format!("test/speaker: ignoring what process {own} says on its notify socket"));
    fs::write(machine.path("shared/ready"), "").unwrap();
    run.wait_for_after(told, "test/speaker: says that it is ready");
    let ended = run.stop();
    ended.assert_status(0);
    assert_eq!(ended.count("ignoring what process"), 1, "{}", ended.text());
    assert_eq!(ended.count("says that it is ready"), 1, "{}", ended.text());
}

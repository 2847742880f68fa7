//! What is to be booted: files over the image, memory, devices.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::arch::Arch;
use super::machine::Machine;
use super::shell;

/// What a machine may use if a test does not say more: far less than any of today's boards has.
const MEMORY_MIB: u32 = 256;

/// How long a machine may run if a test does not say more. A boot takes ten seconds.
const DEADLINE: Duration = Duration::from_secs(120);

pub(super) struct Setup {
    pub(super) arch: Arch,
    pub(super) directory: TempDir,
    pub(super) arguments: Vec<String>,
    pub(super) append: String,
    pub(super) memory_mib: u32,
    pub(super) deadline: Duration,
    pub(super) has_shell: bool,
    settings: String,
    modules: Vec<String>,
    disks: u32,
}

impl Setup {
    pub(super) fn new(arch: Arch) -> Setup {
        Setup {
            arch,
            directory: tempfile::Builder::new().prefix("outrigger-qemu-").tempdir().unwrap(),
            arguments: Vec::new(),
            // A kernel that panics is seen by its message; that it then ends saves waiting.
            append: format!("console={} quiet panic=-1", arch.console()),
            memory_mib: MEMORY_MIB,
            deadline: DEADLINE,
            has_shell: false,
            settings: String::new(),
            modules: Vec::new(),
            disks: 0,
        }
    }

    /// A place in the test's directory on this host.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file of the image, by its path there without the first slash.
    pub(super) fn file(self, path: &str, text: &str) -> Setup {
        self.write(path, text, 0o644);
        self
    }

    /// A shell script of the image.
    pub(super) fn script(self, path: &str, text: &str) -> Setup {
        self.write(path, &format!("#!/bin/sh\n{text}\n"), 0o755);
        self
    }

    /// A pod file.
    pub(super) fn pod(self, name: &str, text: &str) -> Setup {
        self.file(&format!("etc/outrigger/pods/{name}.toml"), text)
    }

    /// Lines of the machine file; keys of tables with dots, as lines of several tests meet in it.
    pub(super) fn settings(mut self, lines: &str) -> Setup {
        self.settings.push_str(lines);
        self.settings.push('\n');
        self
    }

    /// Kernel modules to be loaded by outrigger.
    pub(super) fn modules(mut self, names: &[&str]) -> Setup {
        self.modules.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// More of the kernel's command line.
    pub(super) fn append(mut self, words: &str) -> Setup {
        self.append = format!("{} {words}", self.append);
        self
    }

    pub(super) fn memory(mut self, mib: u32) -> Setup {
        self.memory_mib = mib;
        self
    }

    /// How long the machine may run.
    pub(super) fn deadline(mut self, deadline: Duration) -> Setup {
        self.deadline = deadline;
        self
    }

    /// More words for QEMU.
    pub(super) fn arguments(mut self, words: &[&str]) -> Setup {
        self.arguments.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// A disk, /dev/vda the first.
    pub(super) fn disk(mut self, image: &Path) -> Setup {
        let drive = format!("file={},if=none,format=raw,id=disk{}", image.display(), self.disks);
        let device = format!("virtio-blk-pci,drive=disk{}", self.disks);
        self.disks += 1;
        self.arguments(&["-drive", &drive, "-device", &device])
    }

    /// Lets a pod run a shell for `Machine::run`.
    pub(super) fn shell(mut self) -> Setup {
        self.has_shell = true;
        let pod = format!(
            "name = \"shell\"\nrestart-policy = \"always\"\n\
             termination-grace-period = \"1s\"\n\
             [[containers]]\nname = \"sh\"\nhost-process = true\n\
             command = [\"/bin/sh\", \"-c\", \"{}\"]\n",
            shell::script()
        );
        self.modules(&shell::MODULES).pod("shell", &pod)
    }

    /// Builds the image and starts the machine.
    pub(super) fn boot(self) -> Machine {
        self.write_machine_file();
        self.build_image();
        Machine::start(self)
    }

    /// Unless the test has brought one of its own.
    pub(super) fn write_machine_file(&self) {
        let path = "etc/outrigger/outrigger.toml";
        if !self.path("files").join(path).exists() {
            let modules: Vec<String> = self.modules.iter().map(|name| format!("{name:?}")).collect();
            let settings = format!("boot.modules = [{}]\n{}", modules.join(", "), self.settings);
            self.write(path, &settings, 0o644);
        }
    }

    pub(super) fn build_image(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/qemu/build-image");
        let built = Command::new(script)
            .arg(self.arch.name())
            .arg(self.directory.path())
            .arg(self.path("files"))
            .output()
            .unwrap();
        assert!(built.status.success(), "build-image: {}", String::from_utf8_lossy(&built.stderr));
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.path("files").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

//! Mount options as fstab(5) has them, told apart: those that the kernel takes as flags, and what is
//! the file system's own.

use nix::mount::MsFlags;

/// A word, the flags that it changes, and whether it sets or clears them.
type Flag = (&'static str, MsFlags, bool);

/// mount(8), "filesystem-independent mount options", as far as the kernel knows them. What only
/// mount(8) or an init script would act on (`noauto`, `nofail`, `_netdev`, `user`) is not here: the
/// kernel refuses it, as nobody would do it.
const FLAGS: [Flag; 25] = [
    ("defaults", MsFlags::empty(), true),
    ("ro", MsFlags::MS_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, false),
    ("nosuid", MsFlags::MS_NOSUID, true),
    ("suid", MsFlags::MS_NOSUID, false),
    ("nodev", MsFlags::MS_NODEV, true),
    ("dev", MsFlags::MS_NODEV, false),
    ("noexec", MsFlags::MS_NOEXEC, true),
    ("exec", MsFlags::MS_NOEXEC, false),
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("async", MsFlags::MS_SYNCHRONOUS, false),
    ("dirsync", MsFlags::MS_DIRSYNC, true),
    ("noatime", MsFlags::MS_NOATIME, true),
    ("atime", MsFlags::MS_NOATIME, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, true),
    ("diratime", MsFlags::MS_NODIRATIME, false),
    ("relatime", MsFlags::MS_RELATIME, true),
    ("norelatime", MsFlags::MS_RELATIME, false),
    ("strictatime", MsFlags::MS_STRICTATIME, true),
    ("lazytime", MsFlags::MS_LAZYTIME, true),
    ("nolazytime", MsFlags::MS_LAZYTIME, false),
    ("silent", MsFlags::MS_SILENT, true),
    ("bind", MsFlags::MS_BIND, true),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC), true),
    ("remount", MsFlags::MS_REMOUNT, true),
];

/// What mount(2) takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// What the kernel itself acts on.
    pub flags: MsFlags,
    /// What the file system acts on, with commas between.
    pub data: String,
}

impl MountOptions {
    /// Reads options with commas between; of two that contradict the last one counts.
    pub fn parse(options: &str) -> MountOptions {
        let mut flags = MsFlags::empty();
        let mut data: Vec<&str> = Vec::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match FLAGS.iter().find(|(name, ..)| *name == option) {
                Some((_, flag, true)) => flags.insert(*flag),
                Some((_, flag, false)) => flags.remove(*flag),
                None => data.push(option),
            }
        }
        MountOptions { flags, data: data.join(",") }
    }

    /// Whether a tree is mounted a second time, and not a file system.
    pub fn is_bind(&self) -> bool {
        self.flags.contains(MsFlags::MS_BIND) && !self.is_remount()
    }

    /// Whether what is mounted already is to be changed.
    pub fn is_remount(&self) -> bool {
        self.flags.contains(MsFlags::MS_REMOUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_the_file_systems_own_options_are_told_apart() {
        let none = MsFlags::empty();
        for (options, flags, data) in [
            ("", none, ""),
            ("defaults", none, ""),
            ("ro,noatime", MsFlags::MS_RDONLY | MsFlags::MS_NOATIME, ""),
            ("ro,rw", none, ""),
            ("rw,ro", MsFlags::MS_RDONLY, ""),
            ("nosuid,nodev,noexec,exec", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, ""),
            ("compress=lzo,noatime,size=1m", MsFlags::MS_NOATIME, "compress=lzo,size=1m"),
            (",,errors=remount-ro,", none, "errors=remount-ro"),
            ("rbind", MsFlags::MS_BIND | MsFlags::MS_REC, ""),
            ("remount,sync,dirsync", MsFlags::MS_REMOUNT | MsFlags::MS_SYNCHRONOUS | MsFlags::MS_DIRSYNC, ""),
            ("noauto,nofail", none, "noauto,nofail"),
        ] {
            assert_eq!(
                MountOptions::parse(options),
                MountOptions { flags, data: data.to_owned() },
                "{options}"
            );
        }
    }

    #[test]
    fn every_word_stands_once() {
        for (index, (name, ..)) in FLAGS.iter().enumerate() {
            assert!(FLAGS.iter().skip(index + 1).all(|(other, ..)| other != name), "{name}");
        }
    }

    #[test]
    fn a_remount_of_a_bind_mount_is_a_remount() {
        for (options, bind, remount) in [
            ("bind,ro", true, false),
            ("rbind", true, false),
            ("remount,bind,ro", false, true),
            ("ro", false, false),
        ] {
            let options = MountOptions::parse(options);
            assert_eq!((options.is_bind(), options.is_remount()), (bind, remount), "{options:?}");
        }
    }
}

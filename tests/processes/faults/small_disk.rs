//! A small disk of a test's own, which can be filled. Mounted where nobody else sees it, by an ordinary user too.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::until::{lives, until};

/// Goes with whatever was mounted when it is dropped.
pub struct SmallDisk {
    /// Keeps the mount.
    holder: Child,
    mounted_at: PathBuf,
}

impl SmallDisk {
    /// So many megabytes at this path. `None`, loudly: nobody may mount anything here.
    pub fn at(path: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mount = "mount -t tmpfs -o mode=700,size=$1m tmpfs \"$2\" && exec sleep 600";
        let holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", mount, "sh"])
            .arg(megabytes.to_string())
            .arg(path)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut disk = Self { holder, mounted_at: path.to_owned() };
        let mounted = until(Duration::from_secs(5), "a mount, or a refusal", || {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", disk.holder.id())).unwrap_or_default();
            (name.trim() == "sleep").then_some(true).or_else(|| disk.holder.try_wait().unwrap().map(|_| false))
        });
        if !mounted {
            let mut why = String::new();
            let _ = std::io::Read::read_to_string(&mut disk.holder.stderr.take().unwrap(), &mut why);
            eprintln!("NOT TESTED: a full disk. No file system can be mounted here: {why}");
            return None;
        }
        Some(disk)
    }

    /// What a command has to be given to, so that it sees the disk.
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target", &self.holder.id().to_string(), "--"]);
        command
    }

    /// Its view of all disks, for us.
    pub fn view(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.holder.id()))
    }

    fn filler(&self) -> PathBuf {
        let mut path = self.view().into_os_string();
        path.push(&self.mounted_at);
        PathBuf::from(path).join("filler")
    }

    /// To the last byte.
    pub fn fill(&self) {
        assert!(lives(self.holder.id()));
        let mut file = File::options().append(true).create(true).open(self.filler()).unwrap();
        let block = [1; 4096];
        while file.write_all(&block).is_ok() {}
        assert!(file.metadata().unwrap().len() > 0);
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

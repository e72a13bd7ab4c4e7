//! What a server holds: threads, descriptors, connections to its store, memory.

use std::time::Duration;

use super::scene::Scene;
use crate::until::until;

#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    threads: usize,
    pub descriptors: usize,
    /// As Redis counts them.
    clients: usize,
    /// Kilobytes.
    pub memory: u64,
}

/// That a server keeps to its store.
pub const CONNECTIONS: usize = 7;

impl Footprint {
    /// While nothing is amiss: one of its connections may still be on its way back.
    pub fn at_rest(scene: &Scene) -> Self {
        // The file that events go through is opened with the first one.
        scene.server.verify(&scene.good).expect(200);
        until(Duration::from_secs(5), "all connections, and the file of events", || {
            let now = Self::of(scene);
            let files = std::fs::read_dir(scene.server.data("audit")).unwrap();
            let writes = files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("spill-"));
            (now.clients >= CONNECTIONS && writes).then_some(now)
        })
    }

    pub fn of(scene: &Scene) -> Self {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", scene.server.pid())).unwrap().count();
        let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut scene.redis.connection()).unwrap();
        let ours = clients.lines().filter(|line| line.contains("lib-name=countermark") || !line.contains("cmd=client"));
        Self {
            threads: count("task"),
            descriptors: count("fd"),
            clients: ours.count(),
            memory: status(scene, "VmRSS:"),
        }
    }

    /// The most memory that it ever held, in kilobytes.
    pub fn peak(scene: &Scene) -> u64 {
        status(scene, "VmHWM:")
    }

    /// Nothing more is held than was; connections of clients take a moment to go.
    #[track_caller]
    pub fn is_reached_again(self, scene: &Scene) {
        until(Duration::from_secs(10), &format!("{self:?} again"), || {
            let now = Self::of(scene);
            println!("{now:?}");
            let less =
                now.threads <= self.threads && now.descriptors <= self.descriptors && now.clients <= self.clients;
            less.then_some(())
        });
    }
}

fn status(scene: &Scene, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", scene.server.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

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

impl Footprint {
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
        let mut last = self;
        until(Duration::from_secs(10), &format!("{self:?} again, not {last:?}"), || {
            last = Self::of(scene);
            let less =
                last.threads <= self.threads && last.descriptors <= self.descriptors && last.clients <= self.clients;
            less.then_some(())
        });
    }
}

fn status(scene: &Scene, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", scene.server.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

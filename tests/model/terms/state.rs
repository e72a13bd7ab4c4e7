//! The store, its copies, two issuers and a node; and what the scripts do with the store.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Protection, Scene};

/// A server, from its promotion on: one that is promoted again is another (F6).
pub type Server = u8;

/// A term and a counter in it.
pub type Epoch = (u8, u8);

/// Whose account is whose: each issuer revokes one token, once.
pub const ISSUERS: usize = 2;

/// What a copy has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Data {
    /// The server that the term belongs to.
    pub identity: Option<Server>,
    pub now: Epoch,
    /// The server on which nodes are served.
    pub serving: Option<Server>,
    /// Terms that have ended: whose they were, and their last counter.
    pub past: BTreeMap<u8, (Option<Server>, u8)>,
    /// Terms that are missing, and made up for.
    pub lacks: BTreeSet<(u8, Server)>,
    /// The last term in which each issuer has raised it.
    pub raised: [u8; ISSUERS],
    /// The version at which each account's token was revoked.
    pub revoked: [Option<Epoch>; ISSUERS],
}

/// What an issuer learns when it meets a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lineage {
    pub server: Server,
    now: Epoch,
    past: BTreeMap<u8, (Option<Server>, u8)>,
}

/// An entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    epoch: Epoch,
    server: Option<Server>,
    pub is_raised: bool,
}

impl Lineage {
    pub fn first() -> Self {
        Self { server: 0, now: (1, 0), past: BTreeMap::new() }
    }

    pub fn term(&self) -> u8 {
        self.now.0
    }

    pub fn server_of(&self, term: u8) -> Option<Server> {
        if term == self.now.0 { Some(self.server) } else { self.past.get(&term).and_then(|(server, _)| *server) }
    }

    pub fn entry(&self, epoch: Epoch, is_raised: bool) -> Entry {
        Entry { epoch, server: self.server_of(epoch.0), is_raised }
    }

    /// Whether a store of this history has it.
    pub fn contains(&self, scene: &Scene, entry: Entry) -> bool {
        let same = |server: Option<Server>| entry.server == server || scene.lacks(Protection::TermsOfServers);
        let (term, counter) = entry.epoch;
        if term == self.now.0 {
            return same(Some(self.server)) && counter <= self.now.1;
        }
        self.past.get(&term).is_some_and(|(server, ended)| same(*server) && counter <= *ended)
    }
}

impl Data {
    /// Whether nodes are served by this server.
    pub fn serves(&self, here: Server) -> bool {
        self.identity == Some(here) && self.serving == Some(here)
    }

    fn waited_for(&self) -> bool {
        self.raised.iter().any(|raised| *raised < self.now.0)
    }

    fn serve_if_raised(&mut self, scene: &Scene, here: Server) {
        if (!self.waited_for() || scene.lacks(Protection::WaitsForIssuers)) && self.identity == Some(here) {
            self.serving = Some(here);
        }
    }

    /// `start.lua`: an issuer meets it, and has met these terms before. Whether it has raised it is in the reply.
    pub fn start(&mut self, scene: &Scene, here: Server, issuer: usize, terms: &[(u8, Server)]) -> (Lineage, bool) {
        let furthest = terms.iter().map(|(term, _)| *term).max().unwrap_or(0);
        let elsewhere = terms.iter().filter(|(_, of)| *of != here).map(|(term, _)| *term).max().unwrap_or(0);
        let furthest = if scene.lacks(Protection::BeyondTermsMet) { 0 } else { furthest };
        let elsewhere = if scene.lacks(Protection::BegunAgainBeyond) { 0 } else { elsewhere };
        let (latest, counter) = self.now;
        let is_new = self.identity != Some(here);
        if is_new || latest <= elsewhere {
            let beyond = latest.max(furthest) + 1;
            self.past.insert(latest, (self.identity, counter));
            self.identity = Some(here);
            self.now = (beyond, 0);
            self.serving = None;
            // A term that begins on the same server takes nothing from it, but what the one who begins it has changed elsewhere.
            if !is_new {
                let others =
                    self.raised.iter_mut().enumerate().filter(|(of, raised)| *of != issuer && **raised == latest);
                others.for_each(|(_, raised)| *raised = beyond);
            }
        }
        self.serve_if_raised(scene, here);
        let lineage = Lineage { server: here, now: self.now, past: self.past.clone() };
        (lineage, self.raised[issuer] == self.now.0)
    }

    /// `raised.lua`: an issuer has raised that server. `None`: this is another one.
    pub fn has_raised(
        &mut self,
        scene: &Scene,
        here: Server,
        issuer: usize,
        server: Server,
        terms: &[(u8, Server)],
    ) -> Option<Epoch> {
        if self.identity != Some(here) || (here != server && !scene.lacks(Protection::RaisedOnThatServer)) {
            return None;
        }
        self.raised[issuer] = self.now.0;
        for &(term, of) in terms {
            let is_known = self.past.get(&term).is_some_and(|(server, _)| *server == Some(of));
            if of != here && !is_known && !scene.lacks(Protection::Vouches) {
                self.lacks.insert((term, of));
            }
        }
        self.serve_if_raised(scene, here);
        Some(self.now)
    }

    /// A change by somebody who has found out what it lacks (`raises`), or who is served.
    pub fn revoke(&mut self, here: Server, account: usize, raises: Option<Server>) -> Option<Epoch> {
        let is_met = match raises {
            Some(server) => self.identity == Some(here) && server == here,
            None => self.serves(here),
        };
        is_met.then(|| {
            self.now.1 += 1;
            self.revoked[account] = Some(self.now);
            self.now
        })
    }

    /// `follow.lua`: where the term ended of which a node has followed that server. `None`: nothing is known of it.
    pub fn ended(&self, term: u8, of: Server) -> Option<u8> {
        match self.past.get(&term) {
            Some((server, counter)) if *server == Some(of) => Some(*counter),
            _ => self.lacks.contains(&(term, of)).then_some(0),
        }
    }
}

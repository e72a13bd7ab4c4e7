//! Who is where, and what may happen next.

use super::rules::{Protection, Scene};
use super::state::{Data, Entry, Epoch, ISSUERS, Lineage, Server};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub server: Server,
    pub store: Data,
    pub copies: Vec<Option<Data>>,
    pub issuers: [Issuer; ISSUERS],
    /// Whom a node has followed last, in which term.
    pub followed: (Server, u8),
    pub kills: u8,
    /// Whose revocation was answered: nobody accepts that token any more.
    pub receipts: [bool; ISSUERS],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Issuer {
    pub journal: Vec<Entry>,
    pub terms: Vec<(u8, Server)>,
    pub step: Step,
    /// The server that it has raised since it was started.
    raised: Option<Server>,
}

/// How far an issuer is with the server that it has met.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Away,
    Met {
        here: Lineage,
        raised: bool,
    },
    /// The term is written down, as it is in all that follow.
    Lacks {
        here: Lineage,
    },
    MadeUp {
        here: Lineage,
        epoch: Epoch,
    },
    Raised {
        here: Lineage,
    },
    /// It may change something as soon as nodes are served.
    Ready {
        here: Lineage,
    },
    /// Its change is in the store.
    Changed {
        here: Lineage,
        epoch: Epoch,
    },
    /// And in the journal.
    Noted {
        here: Lineage,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Copy(usize),
    Promote(usize),
    Kill(usize),
    Go(usize),
    Revoke(usize),
    Follow,
}

impl Action {
    /// What is nobody's work: it may never happen, and nothing may wait for it.
    pub fn is_fate(self) -> bool {
        matches!(self, Self::Copy(_) | Self::Promote(_) | Self::Kill(_) | Self::Revoke(_))
    }
}

pub fn possible(scene: &Scene) -> impl Iterator<Item = Action> {
    let copies = (0..scene.copies).flat_map(|copy| [Action::Copy(copy), Action::Promote(copy)]);
    let issuers = (0..ISSUERS).flat_map(|issuer| [Action::Go(issuer), Action::Revoke(issuer), Action::Kill(issuer)]);
    copies.chain(issuers).chain([Action::Follow])
}

impl State {
    pub fn first(scene: &Scene) -> Self {
        let store = Data {
            identity: Some(0),
            now: (1, 0),
            serving: Some(0),
            past: Default::default(),
            lacks: Default::default(),
            raised: [1; ISSUERS],
            revoked: [None; ISSUERS],
        };
        let here = Lineage::first();
        let issuer = Issuer { journal: Vec::new(), terms: vec![(1, 0)], raised: Some(0), step: Step::Ready { here } };
        Self {
            server: 0,
            copies: vec![Some(store.clone()); scene.copies],
            store,
            issuers: [issuer.clone(), issuer],
            followed: (0, 1),
            kills: 0,
            receipts: [false; ISSUERS],
        }
    }

    /// `None`: it is not possible, or changes nothing.
    pub fn after(&self, scene: &Scene, action: Action) -> Option<Self> {
        let mut next = self.clone();
        match action {
            Action::Copy(copy) => next.copies[copy] = Some(next.store.clone()),
            Action::Promote(copy) => {
                if next.server == scene.failovers {
                    return None;
                }
                // What was the primary comes back as an empty copy, which is no candidate before it is filled.
                next.store = next.copies[copy].take()?;
                next.server += 1;
            }
            Action::Kill(issuer) => {
                if next.kills == scene.kills || next.issuers[issuer].step == Step::Away {
                    return None;
                }
                next.kills += 1;
                let killed = &mut next.issuers[issuer];
                (killed.step, killed.raised) = (Step::Away, None);
            }
            Action::Follow => next.follow(),
            Action::Revoke(issuer) => next.revoke(scene, issuer)?,
            Action::Go(issuer) => next.go(scene, issuer)?,
        }
        // Which of them is which makes no difference.
        next.copies.sort();
        (next != *self).then_some(next)
    }

    fn follow(&mut self) {
        let here = self.server;
        if !self.store.serves(here) {
            return;
        }
        let (server, term) = self.followed;
        let now = self.store.now.0;
        if server == here || now > term && self.store.ended(term, server).is_some() {
            self.followed = (here, now);
        }
    }

    /// One that finds it done answers for the last change.
    fn revoke(&mut self, scene: &Scene, issuer: usize) -> Option<()> {
        let Step::Ready { here } = self.issuers[issuer].step.clone() else { return None };
        if issuer >= scene.changes
            || self.receipts[issuer]
            || !self.store.serves(self.server)
            || here.server != self.server
        {
            return None;
        }
        let epoch = match self.store.revoked[issuer] {
            Some(version) => version,
            None => self.store.revoke(self.server, issuer, None)?,
        };
        self.issuers[issuer].step =
            if scene.lacks(Protection::NotedFirst) { Step::Noted { here } } else { Step::Changed { here, epoch } };
        Some(())
    }

    /// The next step of an issuer's own work.
    fn go(&mut self, scene: &Scene, issuer: usize) -> Option<()> {
        let (server, store) = (self.server, &mut self.store);
        let it = &mut self.issuers[issuer];
        let is_elsewhere = |here: &Lineage| here.server != server;
        it.step = match it.step.clone() {
            Step::Away => {
                let (here, raised) = store.start(scene, server, issuer, &it.terms);
                Step::Met { here, raised }
            }
            Step::Met { here, raised } => {
                if !scene.lacks(Protection::NamedFirst) {
                    it.name(scene, issuer, &here);
                }
                let is_raised = it.raised == Some(here.server);
                if is_raised && raised {
                    Step::Ready { here }
                } else if !is_raised && it.lacks_something(scene, &here) {
                    Step::Lacks { here }
                } else {
                    Step::Raised { here }
                }
            }
            Step::Lacks { here } if is_elsewhere(&here) => Step::Away,
            Step::Lacks { here } => match store.revoked[issuer] {
                Some(_) => Step::Raised { here },
                None => match store.revoke(server, issuer, Some(here.server)) {
                    Some(epoch) => Step::MadeUp { here, epoch },
                    None => Step::Away,
                },
            },
            Step::MadeUp { here, epoch } => {
                if here.server_of(epoch.0).is_some() {
                    it.journal.push(here.entry(epoch, false));
                }
                Step::Raised { here }
            }
            Step::Raised { here } => match store.has_raised(scene, server, issuer, here.server, &it.terms) {
                Some(epoch) => {
                    it.raised = Some(here.server);
                    it.journal.push(here.entry(epoch, true));
                    Step::Ready { here }
                }
                None => Step::Away,
            },
            Step::Ready { here } | Step::Noted { here } if is_elsewhere(&here) => Step::Away,
            Step::Ready { here } => {
                // At the latest.
                it.name(scene, issuer, &here);
                Step::Ready { here }
            }
            Step::Changed { here, epoch } if here.server_of(epoch.0).is_some() => {
                it.journal.push(here.entry(epoch, false));
                Step::Noted { here }
            }
            Step::Changed { .. } => Step::Away,
            Step::Noted { here } => {
                self.receipts[issuer] = store.serves(server);
                Step::Ready { here }
            }
        };
        Some(())
    }
}

impl Issuer {
    fn name(&mut self, scene: &Scene, issuer: usize, here: &Lineage) {
        let met = (here.term(), here.server);
        let is_written = !(scene.forgetful && issuer == 1);
        if is_written && !self.terms.contains(&met) {
            self.terms.push(met);
        }
    }

    /// Back to where the store is known to have all that was changed before.
    fn lacks_something(&self, scene: &Scene, here: &Lineage) -> bool {
        let since = self.journal.iter().rposition(|entry| entry.is_raised && here.contains(scene, *entry));
        self.journal[since.map_or(0, |at| at + 1)..]
            .iter()
            .any(|entry| !entry.is_raised && !here.contains(scene, *entry))
    }
}

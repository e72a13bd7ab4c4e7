//! What is where at one moment. All times are ages in ticks of the clock of whoever measures them, and stop rising where
//! nothing depends on them any more: so time has no end and there are finitely many states.

pub type Age = u8;

/// The old primary, or the only store.
pub const A: u8 = 0;
/// Its replica.
pub const B: u8 = 1;

/// Clocks: one for each node, one for the issuers, one for the old primary.
pub const ISSUERS: usize = 2;
pub const PRIMARY: usize = 3;

/// The token that is asked about is the old one: it is good until the new generation is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Generation {
    Old,
    New,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// By how many ticks each clock is ahead of the slowest.
    pub ahead: [u8; 4],
    pub stores: [Store; 2],
    /// How long ago the replica was promoted, on the old primary's clock.
    pub promoted: Option<Age>,
    pub nodes: [Node; 2],
    pub issuer: Issuer,
    pub removers: [Remover; 2],
    pub verification: Verification,
    /// For how long the old generation has been dead in the store that counts, on each node's clock. No process knows it.
    pub dead: [Option<Age>; 2],
}

/// One server and its copy of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Store {
    pub epoch: u8,
    /// The epoch of the new generation.
    pub changed: Option<u8>,
    /// Entries of the feed up to here are gone.
    pub trimmed: u8,
    pub table: [Option<Row>; 2],
    /// An issuer has met this server.
    pub met: bool,
}

/// A node in the node table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub applied: u8,
    pub count: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    pub memory: Option<Memory>,
    /// The reply from which the next memory begins.
    pub beginning: Option<(u8, u8)>,
    pub renewals: [Option<Renewal>; 2],
    pub look_ups: [Option<LookUp>; 2],
    pub renewed: u8,
    /// It has begun to stop.
    pub stopping: bool,
    /// Its goodbye is in flight.
    pub goodbye: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The server that it is about.
    pub store: u8,
    pub applied: u8,
    /// What it may report: `applied`, unless it reports before it applies.
    pub seen: u8,
    pub map: Option<Generation>,
    /// How long ago the change of the account was applied, while the window remembers it.
    pub window: Option<Age>,
    /// How long ago the moment was noted from which the lease runs.
    pub lease: Option<Age>,
}

/// A renewal in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Renewal {
    pub store: u8,
    pub noted: Age,
    pub applied: u8,
    /// The epoch in its reply, once the script has run.
    pub reply: Option<u8>,
}

/// A look-up in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookUp {
    pub store: u8,
    pub asked: Age,
    pub reply: Option<Generation>,
    /// It was sent after the verification began.
    pub later: bool,
    /// The verification waits for it.
    pub awaited: bool,
}

/// One verification of the old token, of which there may be any number, one after the other; what others do beside it (their
/// look-ups) happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verification {
    pub node: u8,
    /// A receipt had been given when it began.
    pub late: bool,
    pub step: Step,
}

/// A node may pause after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Idle,
    Began,
    /// It has captured the lease. `None`: there is none, or it was used up.
    Captured(Option<Age>),
    /// It waits for a look-up, with the lease under which it joined it.
    Waits(Option<Age>),
    /// It has read the old generation from memory; the captured lease has that age.
    Read(Age),
    /// A look-up that was asked that long ago has answered with the old generation.
    Answered(Age),
    /// It has read the clock and accepted. `stale`: F2 is broken.
    Accepted {
        from_memory: bool,
        stale: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Issuer {
    /// The server to which it is connected. `None`: not started yet.
    pub home: Option<u8>,
    /// Its journal has the change.
    pub journal: bool,
    /// And it names the promoted server.
    pub named: bool,
    /// How long ago it met a server that its journal does not name, until that is long enough.
    pub settling: Option<Age>,
    pub phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    /// The commit is on its way.
    Sent {
        elapsed: Age,
    },
    /// Its script has run, and the reply is on its way.
    Committed {
        store: u8,
        epoch: u8,
        waiting: [bool; 2],
        elapsed: Age,
    },
    /// It waits for nodes.
    Waiting {
        store: u8,
        epoch: u8,
        waiting: [bool; 2],
        elapsed: Age,
    },
    /// It has read the identity again.
    Confirmed {
        acknowledged: bool,
    },
    /// It has given the receipt.
    Receipted {
        acknowledged: bool,
    },
}

/// An issuer that looks for nodes that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Remover {
    Idle,
    /// It saw this count, so long ago.
    Watches {
        count: u8,
        age: Age,
    },
    /// Its script is on its way.
    Removes {
        count: u8,
    },
}

//! The rules of the protocol that can be taken out, one at a time, and what a check looks at.

/// One rule of the protocol. A test takes it out and sees what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    // Section 2: the decision.
    /// The clock is read last, and not before the state.
    ClockReadLast,
    /// The clock is compared with the lease that was captured before the state was read, and not with the one of now.
    CapturedLease,
    /// A look-up's answer is used only within `max_staleness` of having been asked.
    LookUpBound,
    /// A verification without a lease joins only a look-up that was sent after it began.
    JoinOnlyLater,
    /// An answer that was joined under a lease is read from memory, where it was merged, and not used as it came.
    JoinedThroughMemory,
    // Section 2: the lease.
    /// The clock is noted before the renewal is sent, and not at its reply.
    NotedBeforeSending,
    /// A lease is taken only once `applied` has reached the epoch that the renewal returned.
    LeaseOnceApplied,
    // Section 2: memory.
    /// The higher version wins, and not the later answer.
    MergeByVersion,
    /// Changes are remembered for a while also for accounts that are not in the map.
    Window,
    /// Also for accounts that *are* in the map: they may be evicted.
    WindowOfMapped,
    /// An answer that is older than the window is not filled in.
    NoLateFill,
    /// Where the next entry of the feed is not the successor, memory is dropped.
    GapDrops,
    /// A drop, and the beginning of a memory, also drops the answers in flight.
    DropInFlight,
    /// So does the beginning alone: what was asked between the drop and it.
    BeginningDropsInFlight,
    /// A node reports an epoch after it has applied it.
    ApplyBeforeReport,
    // Section 3: the receipt.
    /// A receipt waits for acknowledgements or the leases' end.
    ReceiptWaits,
    /// It waits for each node.
    EachNode,
    /// The leases' end is counted from the commit's reply, and not from when it was sent.
    WaitFromReply,
    /// And has a margin for clocks of another pace.
    WaitMargin,
    /// A node that vanishes from the table counts as not acknowledged.
    VanishedIsNotAcknowledged,
    /// A node drops its lease before it says goodbye.
    GoodbyeDropsLease,
    /// And takes no other from a renewal in flight.
    GoodbyeIsFinal,
    /// An issuer removes a node only if its count still stands there when the script runs.
    RemovalByCount,
    /// A count never comes back: a node that was removed and renews goes on, and does not begin at one again.
    CountNeverReturns,
    // Two servers.
    /// F6: where another server answers, memory is dropped and the answer is not used.
    IdentityDrops,
    /// The identity is read again before the receipt.
    IdentityReadAgain,
    /// R4: no receipt before the leases of another server are over.
    Settle,
    /// And that wait has a margin, too.
    SettleMargin,
    /// Its journal names a server only when that wait is over: it may be killed meanwhile.
    NamedOnceSettled,
    /// R2: nothing rests on a server that no issuer has met.
    MetBeforeServing,
    /// F3: a primary that is cut off refuses renewals.
    FencedRenewals,
    /// F3: and look-ups.
    FencedLookUps,
}

/// When nodes say goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    Never,
    AfterTheCommit,
    Ever,
}

/// Who commits the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committer {
    /// An issuer that runs since before the failover, with a journal.
    Known,
    /// One that starts after the failover, with none.
    Fresh,
}

/// What can happen in one check.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// How long a lease is, in ticks: it is valid while its age is below. Also `max_staleness`, the bound of a look-up; and the
    /// window: a change is remembered while its age is not above. The more ticks, the finer is time.
    pub lease: u8,
    /// How far two clocks may be apart, in ticks, so that over one wait the one may gain twice that on the other. 0: all tick
    /// together.
    pub drift: u8,
    pub nodes: usize,
    /// Renewals that one node may have in flight.
    pub renewals: usize,
    /// Look-ups that one node may have in flight.
    pub look_ups: usize,
    /// Requests are delayed like replies. (Without: each runs when it is sent, which loses no counterexample, since it only
    /// makes what was noted before older.)
    pub slow_requests: bool,
    /// Changes that are not about the account.
    pub other_changes: u8,
    /// The feed is trimmed.
    pub trimming: bool,
    /// Memory is bounded.
    pub eviction: bool,
    /// It may begin with nodes that know nothing yet, and not only with such that know the account.
    pub cold: bool,
    /// Nodes are killed and start anew.
    pub restarts: bool,
    pub goodbye: Goodbye,
    /// Issuers that remove nodes from the table.
    pub removers: usize,
    /// Renewals in a node's life, where they are counted. 0: they are not.
    pub counted: u8,
    /// A replica may be promoted while the old primary runs on, which the fence stops after so many ticks.
    pub failover: Option<u8>,
    pub committer: Committer,
    /// It is killed and started anew.
    pub issuer_restarts: bool,
    /// The rules that are missing.
    pub without: [Option<Protection>; 2],
}

impl Scene {
    /// One node, one store, one issuer.
    pub const ONE_NODE: Self = Self {
        lease: 2,
        drift: 1,
        nodes: 1,
        renewals: 1,
        look_ups: 1,
        slow_requests: false,
        other_changes: 0,
        trimming: false,
        eviction: false,
        cold: true,
        restarts: false,
        goodbye: Goodbye::Never,
        removers: 0,
        counted: 0,
        failover: None,
        committer: Committer::Known,
        issuer_restarts: false,
        without: [None; 2],
    };

    /// The same, with a rule taken out.
    pub fn without(self, protection: Protection) -> Self {
        Self { without: [Some(protection), None], ..self }
    }

    /// And another one.
    pub fn and_without(self, protection: Protection) -> Self {
        Self { without: [self.without[0], Some(protection)], ..self }
    }

    /// Whether the rule is there.
    pub fn has(&self, protection: Protection) -> bool {
        !self.without.contains(&Some(protection))
    }

    /// How many ticks an old primary answers after the failover.
    pub fn lag(&self) -> u8 {
        self.failover.unwrap_or(0)
    }

    /// What is added to a wait for a lease that another clock measures: the "2 % + 10 ms" of a receipt.
    fn margin(&self) -> u8 {
        2 * self.drift
    }

    /// F2: from this age on, a state must not be served any more. With two primaries at once: lease + replica lag.
    pub fn bound(&self) -> u8 {
        if self.lag() > 0 { self.lease + self.lag() + self.margin() } else { self.lease }
    }

    /// After so many ticks since the commit's reply, no lease from before it is left.
    pub fn leases_end(&self) -> u8 {
        self.lease + if self.has(Protection::WaitMargin) { self.margin() } else { 0 }
    }

    /// R4: so many ticks after it met a server, no lease of another is left.
    pub fn settle(&self) -> u8 {
        self.lease + self.lag() + if self.has(Protection::SettleMargin) { self.margin() } else { 0 }
    }

    /// A count that stood still for so long belongs to no lease. (Four leases in the product: longer is safer.)
    pub fn stands_still(&self) -> u8 {
        self.lease + self.margin()
    }
}

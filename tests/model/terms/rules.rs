//! The rules that can be taken out, one at a time, and how much happens.

/// One rule. A test takes it out and sees what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// A server serves once each issuer has raised it.
    WaitsForIssuers,
    /// An entry of a journal names the server whose term it is.
    TermsOfServers,
    /// That a server was raised is recorded there, and nowhere else.
    RaisedOnThatServer,
    /// A receipt is given for what is in the journal.
    NotedFirst,
    /// An issuer begins a term beyond all that it has met.
    BeyondTermsMet,
    /// Also where another issuer has begun one already that is not beyond them.
    BegunAgainBeyond,
    /// It writes a term down before anybody is served there.
    NamedFirst,
    /// Once it has raised a server it vouches for the terms that this one lacks.
    Vouches,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// How often a copy is promoted.
    pub failovers: u8,
    /// How often an issuer is killed and starts again.
    pub kills: u8,
    /// Replicas, each with any earlier state of the primary.
    pub copies: usize,
    /// How many of the issuers change something.
    pub changes: usize,
    /// The disk of the second issuer takes no terms: it goes on without.
    pub forgetful: bool,
    pub without: Option<Protection>,
}

impl Scene {
    pub fn without(self, protection: Protection) -> Self {
        Self { without: Some(protection), ..self }
    }

    pub fn lacks(&self, protection: Protection) -> bool {
        self.without == Some(protection)
    }
}

//! The configurations of `deploy/gateways`, run by the programs that they are for, before a small backend. One table of
//! expectations for all; how one differs stands in its `Kind`, as it does in `deploy/gateways/README.md`.

use std::process::Command;

mod apache;
mod away;
mod backend;
mod caddy;
mod envoy_ext_authz;
mod envoy_jwt_authn;
mod gateway;
mod haproxy;
mod hostile;
mod nginx;
mod passing;
mod raw;
mod refusing;
mod scene;
mod signed;
mod stranger;
mod wire;

use gateway::{Place, Variables};

/// What the backend gets from a gateway that asks `/verify`.
const ALL: &[&str] = &[
    "x-countermark-account",
    "x-countermark-username",
    "x-countermark-role",
    "x-countermark-teams",
    "x-countermark-generation",
    "x-countermark-token-id",
    "x-countermark-expires",
];

/// A gateway, and what is different with it.
pub struct Kind {
    name: &'static str,
    command: fn(&Place, &Variables) -> Command,
    /// The headers that its backend gets.
    identity: &'static [&'static str],
    /// Asks Countermark about each request: revocation holds at once, permissions are live.
    asks: bool,
    /// Asks by `/verify`, which is told of the original request and the client's address.
    forwards: bool,
    /// The status while Countermark is away; none where nobody is asked.
    away: Option<u16>,
    /// The status for a good token that is meant for another API.
    foreign_audience: u16,
}

impl Kind {
    const fn asking(name: &'static str, command: fn(&Place, &Variables) -> Command) -> Self {
        Self { name, command, identity: &[], asks: true, forwards: true, away: Some(503), foreign_audience: 401 }
    }

    const fn alone(name: &'static str, command: fn(&Place, &Variables) -> Command) -> Self {
        Self { name, command, identity: &[], asks: false, forwards: false, away: None, foreign_audience: 401 }
    }
}

/// The table, for the `KIND` of a module; `connected` where the gateway speaks with Countermark.
macro_rules! tests {
    (connected) => {
        #[test]
        fn nobody_else_is_believed_in_countermarks_place() {
            super::stranger::check(&KIND);
        }

        super::tests!();
    };
    () => {
        #[test]
        fn good_tokens_pass_with_their_identity() {
            super::passing::check(&KIND);
        }

        #[test]
        fn every_other_one_is_refused() {
            super::refusing::check(&KIND);
        }

        #[test]
        fn nothing_that_a_client_sends_is_taken_for_ours() {
            super::hostile::check(&KIND);
        }

        #[test]
        fn a_genuine_signature_is_not_enough() {
            super::signed::check(&KIND);
        }

        #[test]
        fn without_countermark_it_does_what_is_documented() {
            super::away::check(&KIND);
        }
    };
}
use tests;

//! The protocol of protocols.md, sections 2 and 3, as a model: every state that it can come into is searched for one in which
//! F2 or R1 is broken. With all rules there is none; with any one taken out there is, and the shortest way there is printed
//! (`cargo test --test model -- --nocapture`). The model is a second writing of the rules in the same words, and does not call
//! the product: whether the product keeps them is what the other tests are for.
//!
//! **A check** is a [`rules::Scene`], which says who is there and what can happen. [`actions`] lists what may happen next in a
//! state; [`node`], [`verification`], [`issuer`], [`store`] and [`clocks`] do it; [`check`] searches, and counts states. Tests
//! are in [`decision`] (section 2), [`receipt`] (section 3) and [`failover`] (two servers). A rule is a
//! [`rules::Protection`]. [`terms`] is a model of its own: what several failovers in a row leave of two issuers' changes.
//!
//! **What is modelled.** One account, whose old token is verified again and again, and whose new generation is committed once
//! in the life of a store. Each of these is a step of its own, and between any two of them anything else may happen (a pause of
//! any length, above all): begin, capture the lease, read the state, read the clock; note the clock and send, the script runs,
//! its reply is used. Messages are delayed at will, overtake each other and are lost; only the feed is in order. Clocks tick by
//! themselves, within a drift. Time has no end: ages stop rising where nothing depends on them. The feed is trimmed, memory is
//! bounded, nodes are killed and start anew, say goodbye, are removed from the table; issuers are killed; a replica with any
//! earlier copy of the dataset is promoted while the old primary runs on, and each request of a node may go to either.
//!
//! **What is put together**, since it makes no difference: a feed entry is read and applied in one step (entries don't change,
//! so being read earlier is being trimmed later); a report and a poll arrive when they are made (what they say stays true); all
//! other verifications of a node are the look-ups that they send; unless a scene says `slow_requests`, a script runs when it is
//! asked for (running later makes its answer newer and what was noted older). A restarted node leaves the table at once, which
//! only shortens waits.
//!
//! **What is not modelled.** Waiting for replicas (`WAIT`), so that a change may be lost by a failover whatever its receipt
//! said: R1 is then kept by the issuer that raises the new server (of R2, only that much: one journal with one change; the rest
//! is in [`terms`]). Two issuers that commit on two servers at once; a server to which the nodes come back after another had
//! been promoted in between. Keys, roles and overlaps, which ride on the same epoch. F4 and F5. That anything ever happens:
//! only that nothing wrong does (but see [`terms`]).
//!
//! The short form searches small scenes; `COUNTERMARK_TEST_LONG` adds larger ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod actions;
mod check;
mod clocks;
mod effort;
mod issuer;
mod node;
mod rules;
mod state;
mod store;
mod verification;

mod decision;
mod failover;
mod receipt;
mod terms;

//! A receipt as a sentence.

use chrono::{DateTime, Utc};

use super::{counted, grouped};
use crate::authority::Receipt;

/// What was ended, and where: `The old token is refused` … `on all 3 nodes after 6 ms`. Where it ends later, `later` is said instead,
/// with the time.
pub fn in_words(receipt: &Receipt, what: &str, now: DateTime<Utc>, later: &str) -> String {
    let Receipt { nodes_acknowledged: acknowledged, nodes_expired: expired, waited_ms, effective_at, .. } = receipt;
    if *effective_at > now {
        return format!("{later} {}.", effective_at.format("%-d %b %Y, %H:%M:%S UTC"));
    }
    let nodes = acknowledged + expired;
    let mut text = match nodes {
        0 => format!("{what} everywhere after {} ms: no node held a copy", grouped(*waited_ms)),
        1 => format!("{what} on the one node after {} ms", grouped(*waited_ms)),
        2 => format!("{what} on both nodes after {} ms", grouped(*waited_ms)),
        nodes => format!("{what} on all {} nodes after {} ms", grouped(nodes), grouped(*waited_ms)),
    };
    if *expired > 0 {
        let those = counted(
            *expired,
            "node did not answer, and its lease is over",
            "nodes did not answer, and their leases are over",
        );
        text.push_str(&format!("; {those}"));
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_where_and_after_how_long() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let receipt = |acknowledged, expired, at: i64| Receipt {
            epoch: "1-2".parse().unwrap(),
            effective_at: now + chrono::TimeDelta::seconds(at),
            nodes_acknowledged: acknowledged,
            nodes_expired: expired,
            replicas: 0,
            waited_ms: 6,
        };
        let said = |receipt: Receipt| in_words(&receipt, "Refused", now, "It is good until");
        assert_eq!(said(receipt(3, 0, 0)), "Refused on all 3 nodes after 6 ms.");
        assert_eq!(said(receipt(1, 0, 0)), "Refused on the one node after 6 ms.");
        assert_eq!(said(receipt(0, 0, 0)), "Refused everywhere after 6 ms: no node held a copy.");
        assert_eq!(
            said(receipt(1, 1, -1)),
            "Refused on both nodes after 6 ms; 1 node did not answer, and its lease is over."
        );
        assert_eq!(said(receipt(3, 0, 60)), "It is good until 15 Jan 2027, 08:01:00 UTC.");
    }
}

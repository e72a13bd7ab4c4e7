//! A receipt as a sentence.

use super::{counted, grouped};
use crate::authority::Receipt;

/// What holds, and where: `The token is refused` … `on all 3 nodes after 6 ms`. Not for what ends later than its answer.
pub fn in_words(receipt: &Receipt, what: &str) -> String {
    let Receipt { nodes_acknowledged: acknowledged, nodes_expired: expired, waited_ms, .. } = receipt;
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
        let receipt = |acknowledged, expired| Receipt {
            epoch: "1-2".parse().unwrap(),
            effective_at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            nodes_acknowledged: acknowledged,
            nodes_expired: expired,
            replicas: 0,
            waited_ms: 6,
        };
        let said = |receipt: Receipt| in_words(&receipt, "Refused");
        assert_eq!(said(receipt(3, 0)), "Refused on all 3 nodes after 6 ms.");
        assert_eq!(said(receipt(1, 0)), "Refused on the one node after 6 ms.");
        assert_eq!(said(receipt(0, 0)), "Refused everywhere after 6 ms: no node held a copy.");
        assert_eq!(
            said(receipt(1, 1)),
            "Refused on both nodes after 6 ms; 1 node did not answer, and its lease is over."
        );
    }
}

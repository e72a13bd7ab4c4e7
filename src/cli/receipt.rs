//! The receipt of a change: proof that it holds everywhere.

use serde_json::Value;

use super::table::plain;

/// One line that says when a change took effect.
pub fn line(receipt: &Value) -> String {
    let number = |name: &str| receipt.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (acknowledged, expired, replicas) = (number("nodes_acknowledged"), number("nodes_expired"), number("replicas"));
    let nodes = acknowledged + expired;
    let mut line = if nodes > 0 {
        let plural = if nodes == 1 { "" } else { "s" };
        let mut line = format!("effective on {nodes} of {nodes} node{plural} after {} ms", number("waited_ms"));
        if expired > 0 {
            // A node whose lease ran out decides nothing from memory any more: for it, too, the change holds.
            line.push_str(&format!(" ({acknowledged} acknowledged, {expired} by the end of their lease)"));
        }
        line
    } else {
        format!("effective at once (epoch {})", receipt.get("epoch").map(plain).unwrap_or_default())
    };
    if replicas > 0 {
        let plural = if replicas == 1 { "" } else { "s" };
        line.push_str(&format!(", confirmed by {replicas} replica{plural}"));
    }
    line
}

/// The line for a body that holds a receipt, to follow a sentence; empty when there is none.
pub fn after(body: &Value) -> String {
    match body.get("receipt") {
        Some(receipt) if receipt.is_object() => format!("\n{}", line(receipt)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn receipt(acknowledged: u64, expired: u64, replicas: u64) -> String {
        line(&json!({"epoch": "1-42", "effective_at": "2027-05-23T14:00:00Z", "nodes_acknowledged": acknowledged,
            "nodes_expired": expired, "replicas": replicas, "waited_ms": 12}))
    }

    #[test]
    fn a_receipt_says_how_many_nodes_obey() {
        assert_eq!(receipt(3, 0, 0), "effective on 3 of 3 nodes after 12 ms");
        assert_eq!(receipt(1, 0, 0), "effective on 1 of 1 node after 12 ms");
        assert_eq!(
            receipt(2, 1, 2),
            "effective on 3 of 3 nodes after 12 ms (2 acknowledged, 1 by the end of their lease), confirmed by 2 replicas"
        );
        assert_eq!(receipt(0, 0, 0), "effective at once (epoch 1-42)");
    }
}

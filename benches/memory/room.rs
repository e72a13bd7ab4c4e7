//! A large set of tokens in memory, and the room that it takes.

use countermark::verify::Decider;

use super::counting;
use super::figures::Figure;
use super::node::Node;
use super::signers::{Signer, Token};

/// What a cached token may take, all told.
const MOST: u64 = 300;

pub struct Large {
    pub tokens: Vec<Token>,
    pub decider: Decider,
    accounts: Taken,
    signatures: Taken,
}

/// Bytes for each of so many, as three witnesses have it.
struct Taken {
    by_malloc: f64,
    resident: f64,
    reported: f64,
}

/// Makes so many tokens and has each of them decided once.
pub fn fill(node: &Node, signer: &Signer, count: usize) -> Large {
    let tokens = std::thread::scope(|scope| {
        let other = scope.spawn(|| signer.tokens(count / 2));
        let mut tokens = signer.tokens(count - count / 2);
        tokens.extend(other.join().unwrap());
        tokens
    });
    let each = |bytes: f64| bytes / count as f64;

    let before = resident();
    let known = node.account_bytes();
    let ((), counted) =
        counting::during(|| tokens.iter().enumerate().for_each(|(number, token)| node.learn(token, number)));
    assert_eq!(node.accounts(), count, "not all accounts are in memory");
    let accounts = Taken {
        by_malloc: each(counted.bytes as f64),
        resident: each(resident() - before),
        reported: each((node.account_bytes() - known) as f64),
    };

    let before = resident();
    let (decider, counted) = counting::during(|| {
        let decider = node.decider(count as u64 * MOST);
        for token in &tokens {
            node.decide(&decider, &token.text).unwrap();
        }
        decider
    });
    let counts = decider.signature_counts();
    assert_eq!(counts.entries, count as u64, "not all signatures are in memory");
    let signatures = Taken {
        by_malloc: each(counted.bytes as f64),
        resident: each(resident() - before),
        reported: each(counts.bytes as f64),
    };
    Large { tokens, decider, accounts, signatures }
}

impl Large {
    pub fn figures(&self) -> Vec<Figure> {
        let count = self.tokens.len();
        let figure = |what: &str, taken: &Taken| {
            let Taken { by_malloc, resident, reported } = taken;
            let of = format!("{count} of them; resident memory grew by {resident:.0} each, reported {reported:.0}");
            Figure::new(what, *by_malloc, "bytes").of(of)
        };
        vec![
            figure("a cached token, all told", &self.signatures).at_most(MOST as f64),
            figure("an account's state", &self.accounts),
        ]
    }
}

/// The resident memory of this process, in bytes (proc(5)).
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

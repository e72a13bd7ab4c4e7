//! What is measured against what.

use aws_lc_rs::digest::{SHA256, digest};
use countermark::verify::Decider;

use super::counting;
use super::figures::Figure;
use super::issuing::issue;
use super::naive::Naive;
use super::node::Node;
use super::refusals::{expired, unread};
use super::room::Large;
use super::rounds::{Any, Case, Times};
use super::signers::{Signer, Signers, Token};

/// Tokens of a set that comes again and again.
const FEW: usize = 1000;
/// For the signatures of so many, several times over.
const SIGNATURE_BYTES: u64 = 1 << 20;
/// Tokens that come one after the other until the first comes again, to a memory with room for the signatures of 1,000, which
/// holds on to those that it met first: then, none is known still.
const MANY: usize = 5000;
const BEFORE: usize = 2000;
const TOO_FEW_BYTES: u64 = 256 << 10;
const HASH: &str = "SHA-256 of the token";

pub fn measured(node: &Node, signers: &Signers, large: &Large, rounds: usize) -> Vec<Figure> {
    let few: Vec<Set<'_>> = signers.all().into_iter().map(|signer| Set::new(node, signer)).collect();
    let hot = &few[0];
    let mut cases = vec![
        hot_case(name_of_hot(FEW), node, &hot.decider, hot.hot()),
        hash_case(HASH, hot.hot()),
        hot_case(name_of_hot(large.tokens.len()), node, &large.decider, &large.tokens),
        hash_case(&name_of_hash(large.tokens.len()), &large.tokens),
    ];
    few.iter().for_each(|set| cases.extend(set.cases(node)));
    let allocations = allocations(node, hot);
    let times = Times::of(cases, rounds);
    for counts in few.iter().map(|set| set.forgetful.signature_counts()) {
        assert!(counts.hits * 100 <= counts.misses, "not all was cold: {counts:?}");
    }

    let mut figures = of_hot(&times, large.tokens.len());
    figures.push(Figure::new("allocations of a hot verification", allocations, "").at_most(0.0));
    few.iter().for_each(|set| figures.extend(set.figures(&times)));
    figures.extend(times.names().map(|name| Figure::new(format!("time: {name}"), times.median(name), "µs")));
    figures
}

fn name_of_hot(count: usize) -> String {
    format!("hot verification, {count} tokens")
}

fn name_of_hash(count: usize) -> String {
    format!("{HASH}, of {count}")
}

fn hot_case<'a>(name: String, node: &'a Node, decider: &'a Decider, tokens: &'a [Token]) -> Case<'a> {
    Case::of_tokens(name, tokens, move |token| node.decide(decider, token).unwrap())
}

fn hash_case<'a>(name: &str, tokens: &'a [Token]) -> Case<'a> {
    Case::of_tokens(name, tokens, |token| digest(&SHA256, token.as_bytes()))
}

fn of_hot(times: &Times, large: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (count, hash, most) in [(FEW, HASH.to_owned(), 0.5), (large, name_of_hash(large), 1.2)] {
        let hot = name_of_hot(count);
        let of = format!("{:.2} × the SHA-256 of the token", times.ratio(&hot, &hash));
        figures.push(Figure::new(&hot, times.median(&hot), "µs").at_most(most).of(of));
    }
    figures
}

fn allocations(node: &Node, hot: &Set<'_>) -> f64 {
    let ((), counted) =
        counting::during(|| hot.hot().iter().for_each(|token| drop(node.decide(&hot.decider, &token.text).unwrap())));
    counted.allocations as f64 / FEW as f64
}

/// Tokens of one algorithm. The node knows the accounts of all, and the decider the first of them.
struct Set<'a> {
    signer: &'a Signer,
    tokens: Vec<Token>,
    expired: Token,
    naive: Naive,
    decider: Decider,
    /// One with too little memory.
    forgetful: Decider,
}

impl<'a> Set<'a> {
    fn new(node: &Node, signer: &'a Signer) -> Self {
        let set = Self {
            signer,
            tokens: signer.tokens(BEFORE + MANY),
            expired: expired(signer),
            naive: Naive::new(signer),
            decider: node.decider(SIGNATURE_BYTES),
            forgetful: node.decider(TOO_FEW_BYTES),
        };
        for (number, token) in set.tokens.iter().chain([&set.expired]).enumerate() {
            node.learn(token, 2_000_000 + number);
        }
        set.hot().iter().for_each(|token| drop(node.decide(&set.decider, &token.text).unwrap()));
        set.tokens.iter().take(BEFORE).for_each(|token| drop(node.decide(&set.forgetful, &token.text).unwrap()));
        set
    }

    fn hot(&self) -> &[Token] {
        &self.tokens[..FEW]
    }

    fn named(&self, what: &str) -> String {
        format!("{what}, {}", self.signer.algorithm)
    }

    fn cases<'b>(&'b self, node: &'b Node) -> Vec<Case<'b>> {
        let signed: Vec<_> = self.hot().iter().map(Token::signed).collect();
        let message = signed[0].0;
        let any = Any::of(FEW);
        let mut in_turn = self.tokens[BEFORE..].iter().cycle();
        let mut cases = vec![
            Case::new(self.named("raw check"), move || {
                let (signed, signature) = &signed[any.next()];
                self.signer.public.verify_sig(signed, signature).unwrap();
            }),
            Case::new(self.named("cold verification"), move || {
                node.decide(&self.forgetful, &in_turn.next().unwrap().text).unwrap()
            }),
            Case::of_tokens(self.named("naive decode"), self.hot(), |token| self.naive.decode(token)),
            Case::new(self.named("raw signing"), move || self.signer.sign(message)),
            Case::new(self.named("issue"), || issue(self.signer, self.tokens[0].account)),
            Case::new(self.named("expired"), || node.decide(&self.decider, &self.expired.text).unwrap_err()),
        ];
        for refused in unread(self.signer) {
            let decide = move || node.decide(&self.decider, &refused.text).unwrap_err();
            assert_eq!(decide().reason, refused.reason, "{}", refused.name);
            cases.push(Case::new(self.named(refused.name), decide));
        }
        cases
    }

    fn figures(&self, times: &Times) -> Vec<Figure> {
        let against = |what: &str, floor: &str| {
            let (what, floor) = (self.named(what), self.named(floor));
            let of = format!("{:.2} of {:.2} µs", times.median(&what), times.median(&floor));
            Figure::new(format!("{what}, against {floor}"), times.ratio(&what, &floor), "").of(of)
        };
        let mut figures = vec![
            against("cold verification", "raw check").at_most(1.06),
            against("naive decode", "raw check"),
            against("issue", "raw signing").at_most(1.3),
            against("expired", "raw check"),
        ];
        let refused = unread(self.signer);
        figures.extend(refused.iter().map(|refused| against(refused.name, "raw check").at_most(0.02)));
        figures
    }
}

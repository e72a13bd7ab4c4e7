//! Instructions, counted by callgrind: exact, and the same on every machine of a kind. Valgrind's processor has none of the
//! instructions that cryptography is fast by: what is counted here is everything else.

use std::hint::black_box;
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use countermark::token::Parts;

use super::figures::Figure;
use super::issuing::issue;
use super::node::Node;
use super::refusals::unread;
use super::rounds::Case;
use super::signers::Signers;

/// A case runs so often, and twice as often: what each time costs is the difference.
const TIMES: usize = 1000;
const HASH: &str = "SHA-256 of the token";
const HOT: &str = "hot verification";
const READING: &str = "reading of a token";
const ISSUE: &str = "issue";
const SIGNING: &str = "raw signing";
const REFUSED: &str = "refusal";
const TOKENS: usize = 16;
const SIGNATURE_BYTES: u64 = 1 << 20;

/// Runs one case so often.
pub fn run(name: &str, times: usize) {
    let signers = Signers::new();
    let node = Node::new(&signers);
    let decider = node.decider(SIGNATURE_BYTES);
    let tokens = signers.es256.tokens(TOKENS);
    for (number, token) in tokens.iter().enumerate() {
        node.learn(token, number);
        node.decide(&decider, &token.text).unwrap();
    }
    let mut tokens_in_turn = tokens.iter().cycle();
    let mut text = move || &*tokens_in_turn.next().unwrap().text;
    let mut case = match name {
        HASH => Case::new(name, || digest(&SHA256, text().as_bytes())),
        HOT => Case::new(name, || node.decide(&decider, text()).unwrap()),
        READING => Case::new(name, || read(text())),
        ISSUE => Case::new(name, || issue(&signers.eddsa, tokens[0].account)),
        SIGNING => Case::new(name, || signers.eddsa.sign(text().as_bytes())),
        _ => {
            let refused = unread(&signers.es256).into_iter().find(|refused| name_of(refused.name) == name).unwrap();
            let (node, decider) = (&node, &decider);
            Case::new(name, move || node.decide(decider, &refused.text).unwrap_err())
        }
    };
    counted_by_callgrind(&mut case, times);
}

/// What callgrind counts is what happens in here.
#[inline(never)]
fn counted_by_callgrind(case: &mut Case<'_>, times: usize) {
    black_box(case.run(black_box(times)));
}

/// All that is read of a token before its signature is checked.
fn read(token: &str) {
    let parts = Parts::of(token).unwrap();
    black_box(parts.header().unwrap());
    black_box(parts.payload().unwrap().claims().unwrap());
    black_box(parts.signature().unwrap());
}

fn name_of(refused: &str) -> String {
    format!("{REFUSED}: {refused}")
}

pub fn figures() -> Vec<Figure> {
    let hash = each(HASH);
    let mut figures = vec![
        figure(HOT, each(HOT) - hash).of("without the SHA-256 of the token"),
        figure(READING, each(READING)),
        figure(ISSUE, each(ISSUE) - each(SIGNING)).of("without the signature, Ed25519"),
    ];
    for refused in unread(&Signers::new().es256) {
        let name = name_of(refused.name);
        figures.push(figure(&name, each(&name)));
    }
    figures
}

fn figure(name: &str, value: f64) -> Figure {
    Figure::new(format!("instructions: {name}"), value, "")
}

/// Instructions for each time.
fn each(name: &str) -> f64 {
    let [once, twice] = [TIMES, 2 * TIMES].map(|times| counted(name, times));
    (twice - once) / TIMES as f64
}

fn counted(name: &str, times: usize) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_by_callgrind*"]);
    valgrind.arg(std::env::current_exe().unwrap()).args(["--bench", "--counted", name, &times.to_string()]);
    let output = valgrind.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, number) = collected.filter(|_| output.status.success()).unwrap_or_else(|| panic!("{name}: {said}"));
    number.trim().parse().unwrap()
}

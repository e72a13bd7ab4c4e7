//! The load: whoever has tokens, current ones and old ones, shows them.

use std::time::Duration;

use super::dice::Dice;
use super::history::{Verdict, Verification};
use super::line::{Exchange, Line};
use super::scene::{Scene, Token};

/// Connections to each node.
pub const CALLERS: usize = 5;
/// At the most this many are recorded by one caller.
const MOST: usize = 1_000_000;

/// One caller of one node, until all is over.
pub fn call(scene: &Scene, node: usize, number: usize, mut dice: Dice) -> Vec<Verification> {
    // Most are patient; one leaves what does not answer, and asks again.
    let patience = if number == 0 { Duration::from_secs(1) } else { Duration::from_secs(6) };
    let mut line = Line::to(scene.door(node).address, patience);
    let mut heard = Vec::new();
    while !scene.is_over() && heard.len() < MOST {
        let (account, token) = next(scene, node, &mut dice);
        let verification = show(scene, &mut line, node, account, &token);
        let silent = matches!(verification.verdict, Verdict::Lost | Verdict::Away);
        let pause = if silent { dice.between(2, 10) } else { dice.between(0, 4) };
        heard.push(verification);
        std::thread::sleep(pause);
    }
    heard
}

/// Shows a token at a node.
pub fn show(scene: &Scene, line: &mut Line, node: usize, account: usize, token: &Token) -> Verification {
    let begin = scene.now();
    let verdict = verdict(line.ask(&token.shown));
    Verification { node, account, generation: token.generation, begin, end: scene.now(), verdict }
}

fn verdict(exchange: Exchange) -> Verdict {
    let answer = match exchange {
        Exchange::NotSent | Exchange::Lost => return Verdict::Lost,
        Exchange::Answer(answer) if answer.status == 200 => return Verdict::Accepted,
        Exchange::Answer(answer) => answer,
    };
    match answer.reason().as_str() {
        "401 superseded" => Verdict::Superseded,
        "401 revoked" => Verdict::Revoked,
        "401 disabled" => Verdict::Disabled,
        "503 store_unavailable" => Verdict::Away,
        other => Verdict::Other(other.to_owned()),
    }
}

/// What is urgent here; else a token of any account, and often of one that was changed a moment ago.
fn next(scene: &Scene, node: usize, dice: &mut Dice) -> (usize, Token) {
    let urgent = scene.door(node).urgent.lock().unwrap().pop_front();
    if let Some((account, generation)) = urgent
        && let Some(token) = scene.token(account, generation)
    {
        return (account, token);
    }
    let recent = {
        let recent = scene.recent.lock().unwrap();
        if recent.is_empty() || dice.one_in(3) { None } else { Some(recent[dice.below(recent.len())]) }
    };
    let account = recent.unwrap_or_else(|| dice.below(scene.accounts.len()));
    (account, any_token(scene, account, dice))
}

/// The newest, the one before, or an old one.
pub fn any_token(scene: &Scene, account: usize, dice: &mut Dice) -> Token {
    let tokens = scene.accounts[account].tokens.lock().unwrap();
    let back = match dice.below(10) {
        0..=3 => 0,
        4..=8 => 1,
        _ => dice.below(tokens.len()),
    };
    tokens[tokens.len() - 1 - back.min(tokens.len() - 1)].clone()
}

/// Requests that are sent while nobody answers, each on a connection of its own.
pub struct Queue {
    waiting: Vec<(Line, Verification)>,
}

impl Queue {
    /// Sends so many in the course of this time.
    pub fn fill(scene: &Scene, node: usize, count: u32, within: Duration, dice: &mut Dice) -> Self {
        let mut waiting = Vec::new();
        for _ in 0..count {
            std::thread::sleep(within / count);
            let mut line = Line::to(scene.door(node).address, Duration::from_secs(6));
            let (account, token) = next(scene, node, dice);
            let begin = scene.now();
            if line.send(&token.shown) {
                let (generation, verdict) = (token.generation, Verdict::Lost);
                waiting.push((line, Verification { node, account, generation, begin, end: begin, verdict }));
            }
        }
        Self { waiting }
    }

    pub fn read(self, scene: &Scene) -> Vec<Verification> {
        let read = |(mut line, mut verification): (Line, Verification)| {
            verification.verdict = verdict(line.answer());
            verification.end = scene.now();
            verification
        };
        self.waiting.into_iter().map(read).collect()
    }
}

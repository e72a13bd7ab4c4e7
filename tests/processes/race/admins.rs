//! Those who change accounts, through any node.

use std::time::{Duration, Instant};

use serde_json::json;

use super::dice::Dice;
use super::history::{Act, Change, Epoch, Outcome};
use super::line::{Answer, Exchange, Line, request};
use super::scene::{NODES, Scene, Token};

pub const ADMINS: usize = 6;
/// A store that was met anew settles for five seconds first.
const PATIENCE: Duration = Duration::from_secs(15);

/// One admin, who alone changes his accounts. When the race comes to its end, each of them gets a last token.
pub fn administer(scene: &Scene, number: usize, mut dice: Dice) -> Vec<Act> {
    let mine: Vec<usize> = (number..scene.accounts.len()).step_by(ADMINS).collect();
    let mut done: Vec<Act> = Vec::new();
    while !scene.comes_to_its_end() {
        let account = dice.of(&mine);
        let last = done.iter().rev().find(|act| act.account == account).map(|act| act.change);
        let change = match (last, dice.below(10)) {
            (Some(Change::Disable), 0..=7) => Change::Enable,
            (_, 0..=6) | (Some(Change::Revoke), _) => Change::Regenerate,
            (_, 7) => Change::Revoke,
            _ => Change::Disable,
        };
        done.push(act(scene, account, change, dice.below(NODES)));
        std::thread::sleep(dice.between(50, 250));
    }
    for account in mine {
        for change in [Change::Enable, Change::Regenerate] {
            done.extend(insist(scene, account, change, &mut dice));
        }
    }
    done
}

/// Asks a node for a change.
fn act(scene: &Scene, account: usize, change: Change, node: usize) -> Act {
    let id = &scene.accounts[account].id;
    let status = |status: &str| Some(json!({ "status": status }));
    let (method, path, body) = match change {
        Change::Regenerate => ("POST", format!("{id}/token"), Some(json!({"valid_for_months": 6}))),
        Change::Revoke => ("DELETE", format!("{id}/token"), None),
        Change::Disable => ("PATCH", id.clone(), status("disabled")),
        Change::Enable => ("PATCH", id.clone(), status("active")),
    };
    let request = request(method, &format!("/api/v1/accounts/{path}"), &scene.admin, body.as_ref());
    scene.asked_for(account);
    let begin = scene.now();
    let exchange = Line::to(scene.door(node).address, PATIENCE).ask(&request);
    let end = scene.now();
    let outcome = match exchange {
        Exchange::NotSent => Outcome::Nothing("not sent".into()),
        Exchange::Lost => Outcome::Unknown("no answer".into()),
        Exchange::Answer(answer) => outcome(scene, account, &answer),
    };
    if let Outcome::Receipt { .. } = outcome {
        scene.changed(account);
    }
    Act { account, change, node, begin, end, outcome }
}

fn outcome(scene: &Scene, account: usize, answer: &Answer) -> Outcome {
    match answer.status {
        200 | 201 => {}
        503 if answer.reason() != "503 unconfirmed" => return Outcome::Nothing(answer.reason()),
        500.. => return Outcome::Unknown(answer.reason()),
        _ => return Outcome::Nothing(answer.reason()),
    }
    let answer = answer.json();
    let mut generation = 0;
    if let Some(token) = answer["token"].as_str() {
        generation = answer["account"]["generation"].as_u64().unwrap();
        scene.accounts[account].tokens.lock().unwrap().push(Token::new(generation, token));
        scene.regenerated();
    }
    let receipt = &answer["receipt"];
    let number = |name: &str| receipt[name].as_u64().unwrap();
    Outcome::Receipt {
        epoch: epoch(receipt["epoch"].as_str().unwrap()),
        generation,
        acknowledged: number("nodes_acknowledged"),
        expired: number("nodes_expired"),
    }
}

/// Of `term-counter`.
pub fn epoch(text: &str) -> Epoch {
    let (term, counter) = text.split_once('-').unwrap();
    (term.parse().unwrap(), counter.parse().unwrap())
}

/// Asks again, through one node and another, until there is a receipt.
fn insist(scene: &Scene, account: usize, change: Change, dice: &mut Dice) -> Vec<Act> {
    let (began, mut done) = (Instant::now(), Vec::new());
    loop {
        let act = act(scene, account, change, dice.below(NODES));
        let is_done = matches!(act.outcome, Outcome::Receipt { .. });
        assert!(is_done || began.elapsed() < PATIENCE, "no receipt, long after all was well: {act}");
        done.push(act);
        if is_done {
            return done;
        }
    }
}

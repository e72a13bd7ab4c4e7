//! What a race says: how hard it was, and what led to each violation.

use std::time::Duration;

use super::checker::{Bounds, Claim, Disturbed, Violation};
use super::history::{Act, History, Outcome, Time, Verdict};
use super::scene::NODES;

/// Violations of each claim that are told with all that led to them.
const TOLD: usize = 2;
/// Lines about changes of either sort, and about what was asked.
const CHANGES: usize = 6;
const ASKED: usize = 6;

pub fn violated(history: &History, found: &[Violation], bounds: &Bounds) -> String {
    let mut text = String::new();
    for claim in [Claim::R1, Claim::F2, Claim::S1, Claim::Truth, Claim::Availability] {
        let those = || found.iter().filter(|violation| violation.claim == claim);
        if those().next().is_some() {
            text.push_str(&format!("{claim:?}: {} times\n", those().count()));
        }
        for violation in those().take(TOLD) {
            text.push_str(&format!("  {}\n{}", violation.what, around(history, violation, bounds)));
        }
    }
    text
}

/// What led to something that went wrong: the account's last changes, what this node was asked about it, and what was in
/// the node's way.
fn around(history: &History, violation: &Violation, bounds: &Bounds) -> String {
    let Violation { account, node, at: (begin, end), .. } = *violation;
    let acts = history.acts.iter().filter(|act| act.account == account && act.begin <= end);
    let states = history.states.iter().filter(|state| state.account == account && state.after <= end);
    let here = || history.verifications.iter().filter(|one| one.account == account && one.node == node);
    let (before, after) = (here().filter(|one| one.begin < begin), here().filter(|one| one.begin >= begin));
    let disturbed = Disturbed::of(&history.disturbances);
    let from = begin.saturating_sub(bounds.recovers);
    let mut lines: Vec<(Time, String)> = Vec::new();
    lines.extend(last(CHANGES, acts.map(|act| (act.begin, act.to_string()))));
    lines.extend(last(CHANGES, states.map(|state| (state.after, state.to_string()))));
    lines.extend(last(ASKED, before.map(|one| (one.begin, one.to_string()))));
    lines.extend(after.take(ASKED / 2).map(|one| (one.begin, one.to_string())));
    lines.extend(disturbed.between(node, from, end).map(|one| (one.from, one.to_string())));
    lines.sort();
    lines.into_iter().map(|(_, line)| format!("    {line}\n")).collect()
}

fn last(count: usize, lines: impl Iterator<Item = (Time, String)>) -> Vec<(Time, String)> {
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines.split_off(lines.len().saturating_sub(count))
}

/// How hard it was.
pub fn hardness(history: &History, lasted: Duration, bounds: &Bounds) {
    let total = history.verifications.len();
    let rate = total as f64 / lasted.as_secs_f64();
    let those = |verdict: &Verdict| history.verifications.iter().filter(|one| one.verdict == *verdict).count();
    let disturbed = Disturbed::of(&history.disturbances);
    let clear = history.verifications.iter().filter(|one| disturbed.excuses_silence(one, bounds));
    println!(
        "{total} verifications ({rate:.0} a second), {} in no disturbance; {} states",
        total - clear.count(),
        history.states.len()
    );
    for verdict in
        [Verdict::Accepted, Verdict::Superseded, Verdict::Revoked, Verdict::Disabled, Verdict::Away, Verdict::Lost]
    {
        println!("  {verdict:?}: {}", those(&verdict));
    }
    let calm = |act: &Act| {
        let from = act.begin.saturating_sub(bounds.recovers);
        (0..NODES).all(|node| disturbed.between(node, from, act.end).next().is_none())
    };
    let (mut waits, mut calm_waits) = (Vec::new(), Vec::new());
    let (mut expired, mut unknown, mut nothing) = (0, 0, 0);
    for act in &history.acts {
        match &act.outcome {
            Outcome::Receipt { expired: some, .. } => {
                waits.push(act.end - act.begin);
                calm_waits.extend(calm(act).then_some(act.end - act.begin));
                expired += usize::from(*some > 0);
            }
            Outcome::Unknown(_) => unknown += 1,
            Outcome::Nothing(_) => nothing += 1,
        }
    }
    let spread = |waits: &mut Vec<Duration>| {
        waits.sort();
        let of = |percent: usize| waits.get(waits.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
        format!("half within {:.1?}, nine tenths within {:.1?}, all within {:.1?}", of(50), of(90), of(100))
    };
    println!("{} receipts, {expired} of them after a lease ran out: {}", waits.len(), spread(&mut waits));
    println!("  {} with nothing in any node's way: {}", calm_waits.len(), spread(&mut calm_waits));
    println!("  {unknown} are unknown, {nothing} were not made");
}

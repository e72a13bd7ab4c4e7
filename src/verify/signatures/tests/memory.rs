use super::*;
use crate::token::Parts;

const LIMIT: u64 = 8 << 20;

type Kind = fn() -> Signed;

/// What comes after what.
const ORDERS: [&[Kind]; 4] =
    [&[ordinary], &[ordinary, heaviest], &[heaviest, ordinary], &[ordinary, middling, heaviest, ordinary]];

/// Nobody says the same.
fn middling() -> Signed {
    saying(Arc::new(common(2, false)))
}

/// Remembers as many new tokens of each kind as would fill it three times, and looks at it all the while.
fn fill(signatures: &Signatures, limit: u64, kinds: &[Kind]) {
    let mut nth = 0;
    for kind in kinds {
        let weight = Weight.weight(&Digest::numbered(0), &kind());
        for _ in 0..3 * limit / weight {
            nth += 1;
            assert!(signatures.once(Some(Digest::numbered(nth)), true, || Some(kind())).is_some());
            // Some come again, so that they are worth keeping.
            signatures.find(&Digest::numbered(nth / 2));
            if nth.is_multiple_of(64) {
                assert!(signatures.counts().bytes <= limit, "{:?} of {limit}", signatures.counts());
            }
        }
    }
}

#[test]
fn it_never_holds_more_than_it_may_whatever_the_tokens_are_like() {
    for kinds in ORDERS {
        let signatures = Signatures::within(LIMIT);
        fill(&signatures, LIMIT, kinds);
        // Room that is kept for the tables of as many light tokens is of no use to heavy ones.
        assert!(
            signatures.counts().bytes > LIMIT / 3,
            "{:?} of {LIMIT}: a good part of it is used",
            signatures.counts()
        );
    }
}

#[test]
fn the_smallest_that_is_not_off_holds_something_or_nothing_and_no_more() {
    for limit in [1, 500, 1 << 10, 4 << 10, 16 << 10] {
        let signatures = Signatures::within(limit);
        for nth in 0..200 {
            assert!(signatures.once(Some(Digest::numbered(nth)), true, || Some(ordinary())).is_some());
            assert!(signatures.counts().bytes <= limit, "{:?} of {limit}", signatures.counts());
        }
    }
}

/// With as many audiences and teams as an account may have.
#[test]
fn sixty_four_kilobytes_are_enough_for_any_token() {
    let signatures = Signatures::within(64 << 10);
    assert!(signatures.once(Some(Digest::numbered(1)), true, || Some(heaviest())).is_some());
    assert!(signatures.find(&Digest::numbered(1)).is_some());
}

/// Every text in it counts, whichever grew.
#[test]
fn each_part_of_what_a_token_holds_for_itself_weighs_what_it_holds() {
    let weight = |common: Common| Weight.weight(&Digest::numbered(0), &saying(Arc::new(common)));
    let with = |change: fn(&mut Common)| {
        let mut common = common(2, false);
        change(&mut common);
        weight(common)
    };
    let before = with(|_| {});
    type Growth = (u64, fn(&mut Common));
    let growths: [Growth; 6] = [
        (1000, |it| it.issuer = "i".repeat(1022)),
        (1000, |it| it.issuer.reserve_exact(1022)),
        (1000, |it| it.key_id = "k".repeat(1043).into()),
        (160, |it| it.audiences[0] = "a".repeat(200).parse().unwrap()),
        (1000, |it| it.binding = Some(Binding::Key("t".repeat(1000)))),
        (1000, |it| it.binding = Some(Binding::Certificate("t".repeat(1000)))),
    ];
    for (nth, (bytes, grow)) in growths.into_iter().enumerate() {
        let grown = with(grow) - before;
        assert!((bytes - 32..bytes + 48).contains(&grown), "growth {nth}: {grown} for {bytes}");
    }
    assert!(weight(common(12, false)) - before >= 10 * (24 + 64));
    assert_eq!(weight(common(2, true)), weight(common(12, true)), "what is shared is counted where it lies");
}

/// However many things tokens say that no other token says.
#[test]
fn what_tokens_have_in_common_takes_no_more_than_its_share() {
    let mut scene = Scene::new();
    let signatures = Arc::new(Signatures::within(64 << 10));
    for nth in 0..400 {
        scene.claims.audiences = vec!["billing".parse().unwrap(), format!("a{nth}").parse().unwrap()];
        let _ = scene.decide_with(&signatures, &scene.token());
        assert!(signatures.commons.bytes() <= 8 << 10);
        assert!(signatures.counts().bytes <= 64 << 10, "{signatures:?}");
    }
    // What no token says any more makes room.
    let fresh = Signatures::within(64 << 10);
    let key = scene.source.keys.find(scene.key.public().key_id()).unwrap();
    let mut shared = 0;
    for nth in 0..400 {
        scene.claims.audiences = vec![format!("b{nth}").parse().unwrap()];
        let token = scene.token();
        let parts = Parts::of(&token).unwrap();
        let payload = parts.payload().unwrap();
        let signed = fresh.commons.signed(&payload.claims().unwrap(), key);
        shared += usize::from(signed.common.is_shared);
    }
    assert!(shared > 300, "{shared}");
}

/// The resident memory of this process, in bytes (proc(5)).
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Measured in processes of its own: other tests use memory too.
#[cfg(target_os = "linux")]
#[test]
fn what_it_counts_is_what_the_process_takes() {
    const ORDER: &str = "ORDER_OF_TOKENS";
    if let Ok(nth) = std::env::var(ORDER) {
        let kinds = ORDERS[nth.parse::<usize>().unwrap()];
        fill(&Signatures::within(64 << 10), 64 << 10, kinds);
        let before = resident();
        let (limit, signatures) = (2 * LIMIT, Signatures::within(2 * LIMIT));
        fill(&signatures, limit, kinds);
        let (taken, counted) = (resident() - before, signatures.counts().bytes);
        eprintln!("{taken} {counted} {limit} {:?}", signatures.known.as_ref().unwrap().memory_used());
        assert!(taken <= limit, "{taken} of {limit}, {counted} counted");
        assert!(taken.abs_diff(counted) < limit / 6, "{taken} of {limit}, {counted} counted");
        return;
    }
    let name = format!("{}::what_it_counts_is_what_the_process_takes", module_path!().split_once("::").unwrap().1);
    for nth in [0, ORDERS.len() - 1] {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", &name]).env(ORDER, nth.to_string()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

use super::*;

const LIMIT: u64 = 8 << 20;

type Kind = fn() -> Arc<Signed>;

/// What comes after what.
const ORDERS: [&[Kind]; 4] =
    [&[ordinary], &[lightest, heaviest], &[heaviest, lightest], &[lightest, ordinary, heaviest, lightest]];

fn ordinary() -> Arc<Signed> {
    saying(2, 3)
}

fn heaviest() -> Arc<Signed> {
    saying(16, 32)
}

/// Remembers as many new tokens of each kind as would fill it three times, and looks at it all the while.
fn fill(signatures: &Signatures, limit: u64, kinds: &[Kind]) {
    let mut nth = 0;
    for kind in kinds {
        let weight = Weight.weight(&Digest::numbered(0), &kind());
        for _ in 0..3 * limit / weight {
            nth += 1;
            assert!(signatures.once(Some(Digest::numbered(nth)), Some(&kind()), || true));
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
        assert!(signatures.counts().bytes > LIMIT / 2, "{:?} of {LIMIT}: most of it is used", signatures.counts());
    }
}

#[test]
fn the_smallest_that_is_not_off_holds_something_or_nothing_and_no_more() {
    for limit in [1, 500, 1 << 10, 4 << 10, 16 << 10] {
        let signatures = Signatures::within(limit);
        for nth in 0..200 {
            assert!(signatures.once(Some(Digest::numbered(nth)), Some(&lightest()), || true));
            assert!(signatures.counts().bytes <= limit, "{:?} of {limit}", signatures.counts());
        }
    }
}

/// With as many audiences and teams as an account may have.
#[test]
fn sixty_four_kilobytes_are_enough_for_any_token() {
    let signatures = Signatures::within(64 << 10);
    assert!(signatures.once(Some(Digest::numbered(1)), Some(&saying(16, 32)), || true));
    assert!(signatures.find(&Digest::numbered(1)).is_some());
}

/// Every text in it counts, whichever grew.
#[test]
fn each_part_of_an_entry_weighs_what_it_holds() {
    let weight = |signed: Signed| Weight.weight(&Digest::numbered(0), &Arc::new(signed));
    let entry = || Arc::into_inner(saying(2, 2)).unwrap();
    let with = |change: fn(&mut Signed)| {
        let mut signed = entry();
        change(&mut signed);
        weight(signed)
    };
    let before = weight(entry());
    type Growth = (u64, fn(&mut Signed));
    let growths: [Growth; 9] = [
        (1000, |it| it.claims.issuer = "i".repeat(1022)),
        (1000, |it| it.claims.issuer.reserve_exact(1000)),
        (1000, |it| it.header.key_id = "k".repeat(1043)),
        (60, |it| it.claims.role = "r".repeat(62).parse().unwrap()),
        (150, |it| it.claims.audiences[0] = "a".repeat(200).parse().unwrap()),
        (24 * 100, |it| it.claims.audiences.reserve_exact(100)),
        (1000, |it| it.claims.confirmation = Some(Confirmation::Key { jkt: "t".repeat(1000) })),
        (1000, |it| it.claims.confirmation = Some(Confirmation::Certificate { thumbprint: "t".repeat(1000) })),
        (120, |it| drop(it.claims.teams.insert("t".repeat(60).parse().unwrap(), "r".repeat(60).parse().unwrap()))),
    ];
    for (nth, (bytes, grow)) in growths.into_iter().enumerate() {
        let grown = with(grow) - before;
        assert!((bytes - 32..bytes + 48).contains(&grown), "growth {nth}: {grown} for {bytes}");
    }
    // 48 bytes each in a tree whose nodes have room for 11, and are at least half full.
    let many = |count| Weight.weight(&Digest::numbered(0), &saying(2, count));
    assert!(many(111) - many(11) >= 100 * (48 + 2 * 32));
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

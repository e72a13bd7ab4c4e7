use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::*;

const CALLERS: usize = 6;

/// Until as many are in the same flight.
fn joined(signatures: &Signatures, digest: Digest, count: usize) {
    let started = Instant::now();
    // The list's own reference is one more.
    while locked(&signatures.under_way).get(&digest).is_none_or(|flight| Arc::strong_count(flight) <= count) {
        assert!(started.elapsed() < Duration::from_secs(20), "they are not in one flight");
        std::thread::yield_now();
    }
}

/// What all are told who ask at once, and how many checks that took.
fn ask_at_once(signatures: &Signatures, genuine: bool) -> (Vec<bool>, usize) {
    let digest = Digest::numbered(7);
    let (checks, start) = (AtomicUsize::new(0), Barrier::new(CALLERS));
    let ask = || {
        start.wait();
        let told = signatures.once(Some(digest), true, || {
            checks.fetch_add(1, Ordering::Relaxed);
            joined(signatures, digest, CALLERS);
            genuine.then(ordinary)
        });
        told.is_some()
    };
    let told = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    (told, checks.into_inner())
}

#[test]
fn concurrent_misses_on_one_token_check_it_once() {
    let signatures = Signatures::within(1 << 20);
    assert_eq!(ask_at_once(&signatures, true), (vec![true; CALLERS], 1));
    assert!(signatures.find(&Digest::numbered(7)).is_some());
    assert_eq!((signatures.counts().misses, signatures.counts().entries), (1, 1));
    assert!(locked(&signatures.under_way).is_empty());
}

#[test]
fn concurrent_misses_on_one_forgery_check_it_once_and_leave_nothing() {
    let signatures = Signatures::within(1 << 20);
    assert_eq!(ask_at_once(&signatures, false), (vec![false; CALLERS], 1));
    assert!(signatures.find(&Digest::numbered(7)).is_none());
    assert_eq!(signatures.counts(), SignatureCounts { misses: 1, ..SignatureCounts::default() });
    assert!(locked(&signatures.under_way).is_empty());
}

#[test]
fn one_token_waits_for_no_other() {
    let signatures = Signatures::within(1 << 20);
    let outer = signatures.once(Some(Digest::numbered(1)), true, || {
        assert!(signatures.once(Some(Digest::numbered(2)), true, || None).is_none());
        Some(ordinary())
    });
    assert!(outer.is_some());
}

/// It landed between our look and our check.
#[test]
fn what_has_just_become_known_is_not_checked_again() {
    let signatures = Signatures::within(1 << 20);
    let digest = Some(Digest::numbered(1));
    assert!(signatures.once(digest, true, || Some(ordinary())).is_some());
    assert!(signatures.once(digest, true, || unreachable!("it is known")).is_some());
    assert_eq!((signatures.counts().misses, signatures.counts().hits), (1, 0));
}

#[test]
fn a_check_that_panics_leaves_the_others_to_check_for_themselves() {
    let signatures = Signatures::within(1 << 20);
    let digest = Digest::numbered(1);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            signatures.once(Some(digest), true, || {
                joined(&signatures, digest, 2);
                panic!("as the test has it")
            })
        });
        joined(&signatures, digest, 1);
        assert!(signatures.once(Some(digest), true, || Some(ordinary())).is_some());
        assert!(first.join().is_err());
    });
    assert!(locked(&signatures.under_way).is_empty());
    assert!(signatures.find(&digest).is_some());
}

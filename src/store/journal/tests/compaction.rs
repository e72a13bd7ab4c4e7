//! What stays of old segments, and what goes on meanwhile.

use std::sync::mpsc::{RecvTimeoutError, channel};

use proptest::prelude::*;

use super::super::compaction::{LATEST, Sizes, compact};
use super::*;

/// Whatever there is, a few entries at a time.
const SMALL: Sizes = Sizes { at_least: 0, piece: 600 };

impl Scene {
    fn write(&self, number: u64, entries: &[Entry]) {
        let lines: String = entries.iter().map(Entry::to_line).collect();
        fs::write(segment::path_of(&self.path(), number), lines).unwrap();
    }

    /// These segments, and after them as many as stay as they are.
    fn old(segments: &[Vec<Entry>]) -> Self {
        let scene = Self::new();
        fs::create_dir(scene.path()).unwrap();
        lock::prepare(&scene.path()).unwrap();
        let empty = std::iter::repeat_n(Vec::new(), LATEST);
        for (number, entries) in (1..).zip(segments.iter().cloned().chain(empty)) {
            scene.write(number, &entries);
        }
        scene
    }

    fn compact(&self, sizes: Sizes) {
        compact(&self.path(), 400 * DAY, sizes).unwrap();
    }

    fn files(&self) -> segment::Files {
        segment::all_in(&self.path()).unwrap()
    }

    fn compacted(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        segment::read(&self.files().compacted.unwrap(), |noted| entries.push(noted.entry)).unwrap();
        entries
    }

    fn lost(&self, lineage: &Lineage) -> Lost {
        lost::find(&self.path(), lineage, now()).unwrap()
    }
}

fn epochs(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.epoch.to_string()).collect()
}

/// As many accounts as that, changed once.
fn many(from: u32, accounts: u32) -> Vec<Entry> {
    (from..from + accounts).map(|number| change("X", account(number), "5-1", &format!("5-{}", number + 2), 2)).collect()
}

#[test]
fn of_each_account_the_last_change_stays_and_what_is_too_old_goes() {
    let mut too_old = change("X", account(4), "5-1", "5-2", 2);
    too_old.at = now() - 500 * 86_400;
    let scene = Scene::old(&[
        vec![change("X", account(1), "5-1", "5-3", 2), change("X", account(2), "5-1", "5-4", 2), too_old],
        vec![change("X", account(1), "5-3", "5-5", 3), change("X", account(3), "5-1", "5-6", 2), raised("Y", "6-0")],
        vec![change("X", account(1), "5-5", "5-7", 4), Entry::of_sessions(&[], now())],
    ]);
    scene.compact(SMALL);
    assert_eq!(epochs(&scene.compacted()), ["6-0", "5-7", "5-4", "5-6"]);
    let files = scene.files();
    assert_eq!((files.segments.len(), files.compacted.unwrap().number, files.replaced.len()), (LATEST, 3, 0));
    assert_eq!(fs::read_dir(scene.path()).unwrap().count(), LATEST + 4, "three locks beside them");

    // What was noted before the store was raised is in it, and what was noted afterwards is not.
    let found = scene.lost(&lineage("Y", "6-0", &[(5, "X", 3)]));
    assert_eq!(found.accounts.iter().map(|lost| lost.after.id).collect::<Vec<_>>(), [account(1)]);
    assert_eq!(scene.lost(&lineage("Z", "7-0", &[(5, "X", 3)])).accounts.len(), 3);

    // Once more, with what is there already.
    scene.write(3 + LATEST as u64 + 1, &[]);
    scene.write(4, &["6-2", "6-3", "6-4"].map(|epoch| change("Y", account(2), "6-1", epoch, 7)));
    scene.compact(SMALL);
    assert_eq!(epochs(&scene.compacted()), ["6-0", "5-7", "6-4", "5-6"]);
}

#[test]
fn what_was_noted_late_is_not_the_last_change_to_compaction_either() {
    let id = account(1);
    let scene = Scene::old(&[
        vec![change("X", id, "5-8", "5-9", 3)],
        vec![change("Y", account(2), "6-1", "6-2", 2), change("X", id, "5-1", "5-8", 2)],
    ]);
    let without_it = lineage("Y", "6-5", &[(5, "X", 7)]);
    assert_eq!(scene.lost(&without_it).accounts[0].epoch(), "5-9".parse().unwrap());
    scene.compact(SMALL);
    assert_eq!(epochs(&scene.compacted()), ["5-9", "6-2"]);
    assert_eq!(scene.lost(&without_it).accounts[0].epoch(), "5-9".parse().unwrap());
}

#[test]
fn compaction_waits_until_there_is_enough_for_the_work() {
    let scene = Scene::old(&[many(1, 40)]);
    scene.compact(Sizes { at_least: 1_000_000, ..SMALL });
    assert!(scene.files().compacted.is_none());
    scene.compact(SMALL);
    // Half of what is compacted already: less is left alone.
    for (number, number_then) in [(1, 1), (2, 1), (3, 4)] {
        scene.write(LATEST as u64 + 1 + number, &[]);
        scene.write(1 + number, &many(100 * number as u32, 9));
        scene.compact(SMALL);
        assert_eq!(scene.files().compacted.unwrap().number, number_then);
    }
    assert_eq!(scene.compacted().len(), 40 + 27);
}

#[test]
fn what_a_compaction_that_was_killed_left_behind_does_no_harm_and_goes_away() {
    let scene = Scene::old(&[many(1, 3), many(2, 3)]);
    scene.compact(SMALL);
    let kept = scene.compacted();
    // It had its name, and what it replaces was still there; the next one had begun.
    scene.write(1, &many(1, 3));
    fs::write(scene.path().join("compacted-000000000001"), "half").unwrap();
    fs::create_dir(scene.path().join("compaction")).unwrap();
    fs::write(scene.path().join("compaction/1"), "half").unwrap();
    assert_eq!(scene.files().replaced.len(), 2);
    assert_eq!(scene.lost(&lineage("Y", "6-0", &[])).accounts.len(), 4);
    assert_eq!(Journal::check(&scene.path()).unwrap(), 4);
    scene.write(LATEST as u64 + 3, &[]);
    scene.write(3, &many(9, 3));
    scene.compact(SMALL);
    assert_eq!(scene.files().replaced.len(), 0);
    assert_eq!(scene.compacted().len(), kept.len() + 3);
    assert!(!scene.path().join("compaction").exists());
}

/// As of a copy that was made while files were replaced.
#[test]
fn a_file_that_is_missing_is_damage_and_is_not_compacted_away() {
    let scene = Scene::old(&[many(1, 3), many(2, 3), many(3, 3)]);
    let is_damaged = |number: u64| {
        let missing = segment::path_of(&scene.path(), number);
        let error = lost::find(&scene.path(), &lineage("Y", "6-0", &[]), now()).unwrap_err().to_string();
        assert!(error.contains(&format!("{} is not there", missing.display())) && error.contains("move"), "{error}");
        assert!(Journal::check(&scene.path()).is_err());
        assert!(compact(&scene.path(), 400 * DAY, SMALL).is_err());
    };
    for number in [1, 2] {
        let (path, away) = (segment::path_of(&scene.path(), number), scene.directory.path().join("away"));
        fs::rename(&path, &away).unwrap();
        is_damaged(number);
        fs::rename(&away, &path).unwrap();
    }
    scene.compact(SMALL);
    fs::remove_file(segment::compacted_path_of(&scene.path(), 3)).unwrap();
    is_damaged(1);
}

/// Whoever reads holds back what would remove files under it, and nothing else.
#[tokio::test]
async fn changes_are_noted_while_the_journal_is_compacted_and_nobody_loses_a_file_that_he_reads() {
    let scene = Scene::old(&[many(1, 50), many(2, 50)]);
    let reads = lock::files(&scene.path()).unwrap();
    let files = scene.files();
    let journal = Journal::begin(&scene.path(), 400 * DAY, SMALL, PATIENCE).map(Arc::new).unwrap();
    let compacted = segment::compacted_path_of(&scene.path(), 2);
    let note = async |number: u32| {
        let entry = change("X", account(number), "5-1", "5-500", 2);
        tokio::time::timeout(Duration::from_secs(10), journal.append(&entry)).await.unwrap().unwrap();
    };
    while !compacted.exists() {
        // Each of them is noted while it is at work.
        note(77).await;
    }
    let (tell, told) = channel();
    std::thread::spawn({
        let path = scene.path();
        move || {
            // It has to wait for the same.
            let _removes = lock::removing(&path).unwrap();
            let _ = tell.send(());
        }
    });
    for _ in 0..20 {
        note(78).await;
        assert_eq!(told.recv_timeout(Duration::from_millis(10)), Err(RecvTimeoutError::Timeout));
        assert!(files.segments.iter().all(|file| file.path.exists()));
    }
    // Another reader needs not wait.
    assert_eq!(lost(&journal, lineage("Y", "6-0", &[])).await.accounts.len(), 53);
    drop(reads);
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    while scene.files().replaced.len() + files.segments.iter().filter(|file| file.path.exists()).count() > LATEST {
        tokio::task::yield_now().await;
    }
    assert_eq!(lost(&journal, lineage("Y", "6-0", &[])).await.accounts.len(), 53);
}

#[test]
fn whoever_reads_while_files_are_replaced_finds_all_that_was_noted() {
    let segments: Vec<_> = (0..40).map(|number| many(1 + 5 * number, 5)).collect();
    for _ in 0..10 {
        let scene = Scene::old(&segments);
        std::thread::scope(|scope| {
            let compacts = scope.spawn(|| scene.compact(SMALL));
            while !compacts.is_finished() {
                assert_eq!(scene.lost(&lineage("Y", "6-0", &[])).accounts.len(), 200);
                assert!(Journal::check(&scene.path()).unwrap() >= 200);
            }
        });
        assert_eq!(scene.compacted().len(), 200);
    }
}

/// A history of several servers in which now and then a change is noted after the next one.
fn history() -> impl Strategy<Value = Vec<Entry>> {
    let one = (0..3_usize, 1..3_u64, 1..5_u32, 0..12_u8);
    let swaps = proptest::collection::vec(any::<prop::sample::Index>(), 0..8);
    (proptest::collection::vec(one, 1..60), swaps).prop_map(|(changes, swaps)| {
        let mut counters = std::collections::HashMap::new();
        let mut entries: Vec<Entry> = changes
            .into_iter()
            .map(|(server, term, id, kind)| {
                let server = ["X", "Y", "Z"][server];
                let counter = counters.entry((server, term)).or_insert(1_u64);
                *counter += 1;
                let epoch = format!("{term}-{counter}");
                if kind == 0 { raised(server, &epoch) } else { change(server, account(id), "1-1", &epoch, *counter) }
            })
            .collect();
        for swap in swaps {
            let at = swap.index(entries.len());
            if at > 0 && [at - 1, at].iter().all(|at| entries[*at].change != Change::Raised) {
                entries.swap(at - 1, at);
            }
        }
        entries
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn compaction_changes_nothing_about_what_a_store_lacks(
        entries in history(),
        cut in any::<prop::sample::Index>(),
        ended in (0..20_u64, 0..20_u64),
        server in 0..3_usize,
    ) {
        let (first, second) = entries.split_at(cut.index(entries.len()));
        let scene = Scene::old(&[first.to_vec(), second.to_vec()]);
        let known = ["X", "Y", "Z"][server];
        let lineage = lineage("N", "3-0", &[(1, known, ended.0), (2, known, ended.1)]);
        let found = || {
            let mut found: Vec<_> = scene.lost(&lineage).accounts.iter().map(|lost| (lost.after.id, lost.epoch())).collect();
            found.sort_unstable();
            found
        };
        let before = found();
        scene.compact(SMALL);
        prop_assert_eq!(found(), before);
    }
}

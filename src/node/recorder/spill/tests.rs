use std::os::unix::fs::MetadataExt as _;

use super::*;

const MIB: u64 = 1024 * 1024;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn lines(numbers: &[u128]) -> Lines {
    let text = numbers.iter().map(|number| format!("{{\"id\":\"{}\"}}\n", id(*number))).collect();
    Lines { text, count: numbers.len() }
}

fn open(directory: &Path, most: u64) -> (Spill, usize) {
    let (spill, found) = Spill::open("n", directory, most).unwrap();
    assert_eq!(found.lost, 0);
    (spill, found.events)
}

#[track_caller]
fn push(spill: &Spill, numbers: &[u128]) {
    assert!(matches!(spill.push(lines(numbers)), Kept::OnDisk(_)));
}

fn numbers(lines: &Lines) -> Vec<u128> {
    let numbers: Vec<u128> =
        lines.text.lines().map(|line| crate::audit::id_of(line).unwrap().parse::<Uuid>().unwrap().as_u128()).collect();
    assert_eq!(numbers.len(), lines.count);
    numbers
}

/// All that waits, in its order, by the blocks that it would be.
fn rest(spill: &Spill, most: usize) -> Vec<Vec<u128>> {
    let mut all = Vec::new();
    while let Some(next) = spill.next(most) {
        all.push(numbers(&next.lines));
        spill.done(next.through);
    }
    assert!(spill.is_empty());
    all
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.retain(|path| !path.ends_with("lock"));
    all
}

#[test]
fn batches_come_out_in_their_order_and_together() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("new");
    let (spill, found) = open(&at, MIB);
    assert_eq!((found, spill.next(9).is_none(), spill.is_empty()), (0, true, true));
    push(&spill, &[1, 2]);
    let first = spill.next(9).unwrap();
    // What is on its way gets nothing added.
    push(&spill, &[3]);
    push(&spill, &[4, 5, 6, 7]);
    assert_eq!(numbers(&first.lines), [1, 2]);
    spill.done(first.through);
    assert_eq!(rest(&spill, 9), [[3, 4, 5, 6, 7]]);
    assert_eq!(spill.waiting(), (0, 0));
    spill.close();
    assert_eq!(files(&at), Vec::<PathBuf>::new());
}

#[test]
fn no_more_come_together_than_fit_into_a_block_and_little_is_remembered_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), 16 * MIB);
    for number in 0..5_000 {
        push(&spill, &[number]);
    }
    // One more for each segment.
    assert!(spill.state().batches.len() <= 5_000_usize.div_ceil(BATCH) + files(directory.path()).len());
    let blocks = rest(&spill, BATCH);
    assert!(blocks.iter().all(|block| block.len() <= BATCH));
    assert_eq!(blocks.concat(), (0..5_000).collect::<Vec<_>>());
}

#[test]
fn whoever_comes_next_finds_what_was_not_done_and_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    push(&spill, &[1]);
    spill.done(spill.next(9).unwrap().through);
    for number in [2, 3, 4] {
        push(&spill, &[number]);
    }
    drop(spill);
    let (spill, found) = open(directory.path(), MIB);
    assert_eq!(found, 3);
    let unknown = spill.unknown().unwrap();
    assert_eq!(unknown.batches, HashMap::from([(id(2), 2), (id(3), 3), (id(4), 4)]));
    assert_eq!(unknown.oldest, id(2));
    // The store had two of them.
    assert_eq!(spill.done(3).1, 2);
    push(&spill, &[5]);
    drop(spill);
    // Twice in a row, with two segments.
    let (spill, found) = open(directory.path(), MIB);
    assert_eq!(found, 2);
    assert_eq!(rest(&spill, 9), [[4, 5]]);
    assert!(spill.unknown().is_none());
    drop(spill);
    assert_eq!(open(directory.path(), MIB).1, 0);
    for file in files(directory.path()) {
        assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn under_which_names_it_may_have_been_sent_is_known_however_many_were_killed() {
    let directory = tempfile::tempdir().unwrap();
    let names = |expected: &[&str]| {
        let (spill, _) = Spill::open(expected.last().unwrap(), directory.path(), MIB).unwrap();
        let nodes = spill.unknown().unwrap().nodes;
        assert_eq!(nodes.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        spill
    };
    let (spill, _) = Spill::open("a", directory.path(), MIB).unwrap();
    push(&spill, &[1]);
    drop(spill);
    // Nothing is known to have come of them, but that they were there.
    for expected in [&["a", "b"][..], &["a", "b", "c"], &["a", "b", "c", "d"]] {
        drop(names(expected));
    }
    assert_eq!(rest(&names(&["a", "b", "c", "d"]), 9), [[1]]);
    assert!(Spill::open("e", directory.path(), MIB).unwrap().0.unknown().is_none());
}

#[test]
fn of_what_waited_for_long_little_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), 16 * MIB);
    let most = UNKNOWN as u128 + 3_000;
    for number in 0..most {
        push(&spill, &[number]);
    }
    drop(spill);
    let (spill, found) = open(directory.path(), 16 * MIB);
    assert_eq!((found as u128, spill.unknown().unwrap().batches.len()), (most, UNKNOWN));
    assert!(spill.state().batches.len() <= UNKNOWN + 3 + files(directory.path()).len());
    assert_eq!(rest(&spill, BATCH).concat(), (0..most).collect::<Vec<_>>());
}

#[test]
fn a_torn_end_takes_nothing_else_with_it_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    push(&spill, &[1]);
    push(&spill, &[2]);
    let whole = std::fs::read(&files(directory.path())[0]).unwrap();
    let end_of_first = whole.len() - record::batch(2, &lines(&[2])).len();
    drop(spill);
    for length in 0..whole.len() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("spill-000000000007"), &whole[..length]).unwrap();
        let (spill, found) = open(directory.path(), MIB);
        assert_eq!(found, usize::from(length >= end_of_first), "{length}");
        push(&spill, &[3]);
        assert_eq!(rest(&spill, 9).concat(), if found == 1 { vec![1, 3] } else { vec![3] }, "{length}");
    }
}

#[test]
fn what_is_damaged_is_kept_aside_and_the_rest_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    for number in [1, 2, 3] {
        push(&spill, &[number]);
    }
    drop(spill);
    let file = files(directory.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = record::batch(3, &lines(&[3])).len();
    let second = bytes.len() - last - 3;
    bytes[second] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    for _ in 0..2 {
        let (spill, found) = Spill::open("n", directory.path(), MIB).unwrap();
        assert_eq!(found, Found { events: 2, lost: 1 });
        drop(spill);
    }
    let (spill, _) = Spill::open("n", directory.path(), MIB).unwrap();
    assert_eq!(rest(&spill, 9).concat(), [1, 3]);
    drop(spill);
    let aside = files(directory.path());
    assert!(aside.iter().any(|path| path.to_str().unwrap().contains(".damaged-")), "{aside:?}");
    assert!(aside.iter().any(|path| std::fs::read(path).unwrap() == bytes));
    assert_eq!(open(directory.path(), MIB).1, 0);
}

#[test]
fn what_is_damaged_while_it_waits_is_counted_and_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    push(&spill, &[1]);
    push(&spill, &[2, 3]);
    push(&spill, &[4]);
    let file = files(directory.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let second = bytes.len() - record::batch(3, &lines(&[4])).len() - 5;
    bytes[second] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let next = spill.next(9).unwrap();
    assert_eq!((numbers(&next.lines), next.lost), (vec![1, 4], 2));
    assert_eq!(spill.done(next.through).1, 4);
}

#[test]
fn where_there_is_no_room_they_wait_in_memory_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), 400);
    push(&spill, &[1]);
    let mut in_memory = 0;
    for number in 2..8 {
        in_memory += usize::from(matches!(spill.push(lines(&[number])), Kept::InMemory(_)));
    }
    assert!((1..6).contains(&in_memory), "{in_memory}");
    assert_eq!(spill.waiting().1, in_memory);
    assert_eq!(rest(&spill, 1).concat(), (1..8).collect::<Vec<_>>());
    // There is room again.
    push(&spill, &[8]);
    // Nothing of that is found later.
    drop(spill);
    assert_eq!(rest(&open(directory.path(), 400).0, 9), [[8]]);
}

#[test]
fn where_the_directory_goes_they_wait_in_memory_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("audit");
    let (spill, _) = open(&at, MIB);
    std::fs::remove_dir_all(&at).unwrap();
    assert!(matches!(spill.push(lines(&[1])), Kept::InMemory(_)));
    std::fs::create_dir(&at).unwrap();
    push(&spill, &[2]);
    spill.sync();
    assert_eq!(rest(&spill, 9), [[1, 2]]);
}

#[test]
fn segments_of_which_the_store_has_all_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), SEGMENTS * 100);
    for number in 0..50 {
        push(&spill, &[number]);
    }
    let before = files(directory.path()).len();
    assert!(before > 10, "{before}");
    spill.done(spill.next(25).unwrap().through);
    let half = files(directory.path()).len();
    assert!(half <= before / 2 + 2, "{half} of {before}");
    drop(spill);
    let (spill, found) = open(directory.path(), SEGMENTS * 100);
    assert!((24..=27).contains(&found), "{found}");
    assert_eq!(rest(&spill, 100).concat(), (50 - found as u128..50).collect::<Vec<_>>());
    spill.close();
    assert_eq!(files(directory.path()).len(), 0);
}

#[test]
fn two_processes_do_not_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), MIB);
    let refused = Spill::open("n", directory.path(), MIB).err().unwrap();
    assert!(refused.to_string().contains("another process"), "{refused}");
    first.0.close();
    assert!(Spill::open("n", directory.path(), MIB).is_ok());
}

use std::os::unix::fs::MetadataExt as _;

use super::*;

const MIB: u64 = 1024 * 1024;

fn lines(ids: &[&str]) -> Lines {
    let text = ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}\n")).collect();
    Lines { text, count: ids.len() }
}

fn open(directory: &Path, most: u64) -> (Spill, usize) {
    Spill::open("n", directory, most).unwrap()
}

#[track_caller]
fn push(spill: &Spill, ids: &[&str]) {
    assert!(matches!(spill.push(lines(ids), false), Kept::OnDisk(_)));
}

/// All that waits, in its order, by the blocks that it would be.
fn rest(spill: &Spill, most: usize) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(next) = spill.next(most) {
        let ids: Vec<&str> = next.lines.text.lines().filter_map(crate::audit::id_of).collect();
        assert_eq!(ids.len(), next.lines.count);
        all.push(ids.join(" "));
        spill.done(next.through);
    }
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
    let (spill, found) = open(&directory.path().join("new"), MIB);
    assert_eq!((found, spill.next(9).is_none()), (0, true));
    for ids in [&["a", "b"][..], &["c"], &["d", "e", "f", "g"], &["h"]] {
        push(&spill, ids);
    }
    assert_eq!(rest(&spill, 3), ["a b c", "d e f g", "h"]);
    assert_eq!(spill.waiting(), (0, 0));
    spill.close();
    assert_eq!(files(&directory.path().join("new")), Vec::<PathBuf>::new());
}

#[test]
fn whoever_comes_next_finds_what_was_not_done_and_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    for id in ["a", "b", "c", "d"] {
        push(&spill, &[id]);
    }
    let next = spill.next(2).unwrap();
    spill.done(next.through);
    drop(spill);
    let (spill, found) = open(directory.path(), MIB);
    assert_eq!(found, 2);
    assert_eq!(spill.found()["n"], BTreeMap::from([("c".to_owned(), 3), ("d".to_owned(), 4)]));
    push(&spill, &["e"]);
    drop(spill);
    // Twice in a row, with two segments.
    let (spill, found) = open(directory.path(), MIB);
    assert_eq!(found, 3);
    assert_eq!(rest(&spill, 9), ["c d e"]);
    drop(spill);
    assert_eq!(open(directory.path(), MIB).1, 0);
    for file in files(directory.path()) {
        assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_torn_end_takes_nothing_else_with_it_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    push(&spill, &["a"]);
    push(&spill, &["b"]);
    let whole = std::fs::read(&files(directory.path())[0]).unwrap();
    let end_of_a = whole.len() - record::batch(2, &lines(&["b"])).len();
    drop(spill);
    for length in 0..whole.len() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("spill-000000000007"), &whole[..length]).unwrap();
        let (spill, found) = open(directory.path(), MIB);
        assert_eq!(found, usize::from(length >= end_of_a), "{length}");
        push(&spill, &["c"]);
        assert_eq!(rest(&spill, 9), [if found == 1 { "a c" } else { "c" }], "{length}");
    }
}

#[test]
fn what_is_damaged_is_kept_aside_and_the_rest_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    push(&spill, &["a"]);
    push(&spill, &["b"]);
    push(&spill, &["c"]);
    drop(spill);
    let file = files(directory.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    let last = record::batch(3, &lines(&["c"])).len();
    bytes[whole.len() - last - 3] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (spill, found) = open(directory.path(), MIB);
    assert_eq!(found, 1);
    assert_eq!(rest(&spill, 9), ["a"]);
    drop(spill);
    let aside = files(directory.path());
    assert!(aside.iter().any(|path| path.extension().is_some_and(|name| name == "damaged")), "{aside:?}");
    assert!(aside.iter().any(|path| std::fs::read(path).unwrap() == bytes));
    assert_eq!(open(directory.path(), MIB).1, 0);
}

#[test]
fn what_is_damaged_while_it_waits_is_counted_and_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), MIB);
    push(&spill, &["a"]);
    push(&spill, &["b", "c"]);
    let file = files(directory.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let next = spill.next(9).unwrap();
    assert_eq!((next.lines.count, next.lost), (1, 2));
    assert_eq!(spill.done(next.through).1, 3);
}

#[test]
fn where_there_is_no_room_they_wait_in_memory_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), 200);
    push(&spill, &["a"]);
    let mut in_memory = 0;
    for id in ["b", "c", "d", "e", "f", "g"] {
        in_memory += usize::from(matches!(spill.push(lines(&[id]), false), Kept::InMemory(_)));
    }
    assert!((1..6).contains(&in_memory), "{in_memory}");
    assert_eq!(spill.waiting().1, in_memory);
    let next = spill.next(1).unwrap();
    assert_eq!(spill.done(next.through).0.len(), 0);
    assert_eq!(rest(&spill, 9).join(" "), "b c d e f g");
    // There is room again.
    push(&spill, &["h"]);
    // Nothing of that is found later.
    drop(spill);
    let (spill, _) = open(directory.path(), 200);
    assert_eq!(rest(&spill, 9), ["h"]);
}

#[test]
fn where_the_directory_goes_they_wait_in_memory_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("audit");
    let (spill, _) = open(&at, MIB);
    std::fs::remove_dir_all(&at).unwrap();
    assert!(matches!(spill.push(lines(&["a"]), true), Kept::InMemory(_)));
    std::fs::create_dir(&at).unwrap();
    push(&spill, &["b"]);
    assert_eq!(rest(&spill, 9), ["a b"]);
}

#[test]
fn segments_of_which_the_store_has_all_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (spill, _) = open(directory.path(), SEGMENTS * 100);
    for number in 0..50 {
        push(&spill, &[&format!("{number:0>60}")]);
    }
    let before = files(directory.path()).len();
    assert!(before > 10, "{before}");
    let next = spill.next(25).unwrap();
    spill.done(next.through);
    let half = files(directory.path()).len();
    assert!(half <= before / 2 + 1, "{half} of {before}");
    drop(spill);
    let (spill, found) = open(directory.path(), SEGMENTS * 100);
    assert_eq!(found, 25);
    assert_eq!(rest(&spill, 100).join(" ").split(' ').count(), 25);
    spill.close();
    assert_eq!(files(directory.path()).len(), 0);
}

#[test]
fn two_processes_do_not_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path(), MIB);
    let refused = Spill::open("n", directory.path(), MIB).err().unwrap();
    assert!(refused.to_string().contains("another process"), "{refused}");
}

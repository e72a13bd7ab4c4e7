//! Room for what is promised.

use std::io::Write as _;

use super::super::room::{KEPT, is_empty_from, reserve, with_zeros};
use super::*;

#[tokio::test]
async fn room_of_zeros_is_no_damage_and_entries_are_written_over_it() {
    let (scene, journal) = Scene::with(&[change("X", account(1), "5-1", "5-9", 2)]).await;
    drop(journal);
    let path = scene.last_file();
    let written = fs::metadata(&path).unwrap().len();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    with_zeros(&file, written + 300_000).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), written + 300_000);
    assert!(is_empty_from(&file, written).unwrap() && !is_empty_from(&file, written - 1).unwrap());
    assert_eq!(Journal::check(&scene.path()).unwrap(), 1);
    for again in 2..4 {
        let (one, other) = (scene.open().unwrap(), scene.open().unwrap());
        one.append(&change("X", account(2 * again), "5-1", "5-10", 2)).await.unwrap();
        other.append(&change("X", account(2 * again + 1), "5-1", "5-11", 2)).await.unwrap();
    }
    assert_eq!(Journal::check(&scene.path()).unwrap(), 5);
    assert_eq!(fs::metadata(&path).unwrap().len(), written + 300_000, "nothing of the room is given away");
    // What was torn in the middle of it.
    let end = fs::read(&path).unwrap().iter().position(|byte| *byte == 0).unwrap() as u64;
    std::os::unix::fs::FileExt::write_all_at(&file, b"0123", end).unwrap();
    let again = scene.open().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), end);
    again.append(&change("X", account(9), "5-1", "5-12", 2)).await.unwrap();
    assert_eq!(Journal::check(&scene.path()).unwrap(), 6);
}

#[tokio::test]
async fn a_segment_has_its_room_before_anything_is_noted_in_it_and_keeps_what_is_promised_behind_the_last_entry() {
    use std::os::unix::fs::MetadataExt as _;
    let (scene, journal) = Scene::with(&[]).await;
    let mut written = 0;
    let entry = change("X", account(1), "5-1", "5-9", 2);
    // Room that somebody took away is noticed with the next entry of another process.
    for number in 0..3 {
        let path = scene.last_file();
        let there = fs::metadata(&path).unwrap();
        assert!(there.blocks() * 512 >= there.len() + KEPT, "{number}");
        journal.append(&entry).await.unwrap();
        written += entry.to_line().len() as u64;
        assert_eq!(fs::metadata(&path).unwrap().len(), written);
        fs::File::options().write(true).open(&path).unwrap().set_len(written).unwrap();
        drop(scene.open().unwrap());
    }
    // One that is long enough is followed by another.
    let path = scene.last_file();
    let lines = entry.to_line().repeat(1 + 1024 * 1024 / entry.to_line().len());
    fs::File::options().append(true).open(&path).unwrap().write_all(lines.as_bytes()).unwrap();
    journal.append(&entry).await.unwrap();
    assert_ne!(scene.last_file(), path);
    assert_eq!(fs::metadata(&path).unwrap().len(), written + (lines.len() + entry.to_line().len()) as u64);
    let next = fs::metadata(scene.last_file()).unwrap();
    assert!(next.len() == 0 && next.blocks() * 512 >= KEPT);
}

/// Zeros in the middle of a journal would be damage.
#[tokio::test]
async fn a_segment_that_another_one_follows_gives_its_room_back_however_it_was_kept() {
    use std::os::unix::fs::MetadataExt as _;
    let line = change("X", account(1), "5-1", "5-9", 2).to_line();
    let lines = line.repeat(1 + 1024 * 1024 / line.len());
    for keep in [reserve, with_zeros] {
        let scene = Scene::new();
        drop(scene.open().unwrap());
        let path = scene.last_file();
        fs::write(&path, &lines).unwrap();
        let file = fs::File::options().read(true).write(true).open(&path).unwrap();
        let length = lines.len() as u64;
        keep(&file, length + KEPT).unwrap();
        let journal = scene.open().unwrap();
        assert_ne!(scene.last_file(), path);
        let there = file.metadata().unwrap();
        assert!(there.len() == length && there.blocks() * 512 < length + KEPT / 2, "{there:?}");
        assert_eq!(journal.lost(Arc::new(lineage("Y", "6-0", &[])), now()).await.unwrap().accounts.len(), 1);
    }
}

#[tokio::test]
async fn no_more_is_promised_than_there_is_room_for() {
    let (_scene, journal) = Scene::with(&[]).await;
    let next = change("X", account(1), "5-1", "5-9", 2).change;
    let is_ready = || async { tokio::time::timeout(Duration::from_millis(20), journal.ready(&next)).await };
    let mut promised = Vec::new();
    while let Ok(promise) = is_ready().await {
        promised.push(promise.unwrap());
    }
    let bytes = promised.len() as u64 * 2 * next.longest_line() as u64;
    assert!((KEPT / 4 - 4096..=KEPT / 4).contains(&bytes), "{bytes}");
    drop(promised.pop());
    is_ready().await.unwrap().unwrap();

    // And nothing that would never have room.
    let ids: Vec<SessionId> = (0..10_000_u32).map(|id| format!("{id:032x}").parse().unwrap()).collect();
    let too_long = Change::Sessions(ids.clone());
    let refused = tokio::time::timeout(Duration::from_secs(10), journal.ready(&too_long)).await;
    let error = refused.unwrap().unwrap_err().to_string();
    assert!(error.contains("too long for one change"), "{error}");
    drop(promised);
    journal.session_ended(&ids, now()).await.unwrap();
    assert_eq!(lost(&journal, lineage("Y", "6-0", &[])).await.sessions.len(), ids.len());
}

#[tokio::test]
async fn a_change_that_is_asked_for_again_is_noted_once_for_each_server_that_made_it() {
    let (scene, journal) = Scene::with(&[]).await;
    let entries = [change("X", account(1), "5-1", "5-9", 2), change("Y", account(1), "6-1", "6-2", 2)];
    let promise = journal.ready(&entries[0].change).await.unwrap();
    for entry in [&entries[0], &entries[0], &entries[1], &entries[1]] {
        journal.note(&promise, entry).await.unwrap();
    }
    assert_eq!(Journal::check(&scene.path()).unwrap(), 2);
}

#[test]
fn no_entry_is_longer_than_the_room_that_was_promised_for_it() {
    let long = "x".repeat(64);
    let server = format!("{long}{long}");
    for entry in [change("X", account(1), "5-1", "5-9", 2), raised("X", "5-9")] {
        let max = u64::MAX;
        let lineage = Lineage::read(&long, &server, Epoch { term: max, counter: max }, "");
        let mut change = entry.change;
        if let Change::Account(after) = &mut change {
            after.before = Epoch { term: max, counter: max };
        }
        let entry = Entry::of(&lineage, Epoch { term: max, counter: max }, i64::MIN, change.clone());
        assert!(entry.to_line().len() <= change.longest_line());
    }
}

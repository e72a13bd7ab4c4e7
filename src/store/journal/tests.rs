mod compaction;
mod room;

use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::account::{AccountId, AccountState, StateRecord, Status};
use crate::epoch::Epoch;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> i64 {
    SystemClock.now().timestamp()
}

/// A store in this term of this server, after terms of others.
fn lineage(server: &str, now: &str, past: &[(u64, &str, u64)]) -> Lineage {
    let past: Vec<String> = past.iter().map(|(term, server, ended)| format!("{term} {ended} {server}")).collect();
    Lineage::read("d", server, now.parse().unwrap(), &past.join("\n"))
}

fn account(number: u32) -> AccountId {
    format!("00000000-0000-7000-8000-{number:012}").parse().unwrap()
}

fn state(generation: u64) -> AccountState {
    AccountState {
        username: "ci".parse().unwrap(),
        generation,
        token_id: None,
        status: Status::Active,
        role: "auditor".parse().unwrap(),
        teams: Default::default(),
        audiences: Vec::new(),
        allowed_networks: Vec::new(),
        binding: None,
        previous: None,
        sign_ins: 0,
    }
}

/// A change of an account on this server, from one epoch to the next.
fn change(server: &str, id: AccountId, before: &str, epoch: &str, generation: u64) -> Entry {
    let epoch: Epoch = epoch.parse().unwrap();
    let after = AccountAfter::of(id, before.parse().unwrap(), StateRecord::Live(state(generation)), None);
    Entry::of(&lineage(server, &epoch.to_string(), &[]), epoch, now(), Change::Account(Box::new(after)))
}

fn raised(server: &str, epoch: &str) -> Entry {
    let epoch: Epoch = epoch.parse().unwrap();
    Entry::of(&lineage(server, &epoch.to_string(), &[]), epoch, now(), Change::Raised)
}

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("journal")
    }

    fn open(&self) -> Result<Arc<Journal>, JournalError> {
        Journal::open(&self.path(), 400 * DAY).map(Arc::new)
    }

    async fn with(entries: &[Entry]) -> (Self, Arc<Journal>) {
        let scene = Self::new();
        let journal = scene.open().unwrap();
        for entry in entries {
            journal.append(entry).await.unwrap();
        }
        (scene, journal)
    }

    fn last_file(&self) -> std::path::PathBuf {
        segment::all_in(&self.path()).unwrap().segments.pop().unwrap().path
    }
}

async fn lost(journal: &Arc<Journal>, lineage: Lineage) -> Lost {
    journal.lost(Arc::new(lineage), now()).await.unwrap()
}

#[tokio::test]
async fn what_a_store_lacks_is_what_comes_after_the_end_of_its_term() {
    let (a, b) = (account(1), account(2));
    let entries = [change("X", a, "5-1", "5-9", 2), change("X", b, "5-2", "5-10", 3)];
    let (_scene, journal) = Scene::with(&entries).await;
    assert!(lost(&journal, lineage("X", "5-10", &[])).await.is_nothing());
    let found = lost(&journal, lineage("Y", "6-0", &[(5, "X", 9)])).await;
    assert_eq!(found.accounts.iter().map(|lost| lost.after.id).collect::<Vec<_>>(), [b]);
    assert!(found.accounts[0].follows("5-2".parse().unwrap(), &lineage("Y", "6-0", &[(5, "X", 9)])));
    assert!(!found.accounts[0].follows("6-1".parse().unwrap(), &lineage("Y", "6-1", &[(5, "X", 9)])));
}

/// Two servers have both begun term 6. What one of them made in it the other does not have, whatever their counters.
#[tokio::test]
async fn f6_the_same_term_of_another_server_is_another_history() {
    let (_scene, journal) = Scene::with(&[change("X", account(1), "5-1", "6-2", 2)]).await;
    let of_its_own = lineage("Z", "7-0", &[(5, "P", 4), (6, "X", 3)]);
    assert!(lost(&journal, of_its_own).await.is_nothing());
    let twin = lineage("Z", "7-0", &[(5, "P", 4), (6, "Y", 30)]);
    assert_eq!(lost(&journal, twin).await.accounts.len(), 1);
    let still = lineage("Y", "6-30", &[(5, "P", 4)]);
    assert_eq!(lost(&journal, still).await.accounts.len(), 1);
}

#[tokio::test]
async fn the_last_change_of_an_account_counts_in_the_order_in_which_they_were_made() {
    let id = account(1);
    // Noted in another order than they were made in.
    let entries = [change("X", id, "5-8", "5-9", 3), change("X", id, "5-1", "5-8", 2)];
    let (_scene, journal) = Scene::with(&entries).await;
    let found = lost(&journal, lineage("Y", "6-0", &[(5, "X", 7)])).await;
    let StateRecord::Live(state) = &found.accounts[0].after.record else { panic!() };
    assert_eq!((state.generation, found.accounts[0].epoch()), (3, "5-9".parse().unwrap()));
    // Upon what the first of them was made.
    assert!(found.accounts[0].follows("5-1".parse().unwrap(), &lineage("Y", "6-0", &[(5, "X", 7)])));
    // The store has the first one: what lacks was made upon that.
    let found = lost(&journal, lineage("Y", "6-0", &[(5, "X", 8)])).await;
    assert!(found.accounts[0].follows("5-8".parse().unwrap(), &lineage("Y", "6-0", &[(5, "X", 8)])));
}

#[tokio::test]
async fn what_was_made_up_for_is_not_looked_at_again_unless_that_is_lost_too() {
    let entries = [change("X", account(1), "5-1", "5-9", 2), raised("Y", "6-3")];
    let (_scene, journal) = Scene::with(&entries).await;
    assert!(lost(&journal, lineage("Y", "6-3", &[(5, "X", 8)])).await.is_nothing());
    assert!(lost(&journal, lineage("Z", "7-0", &[(5, "X", 8), (6, "Y", 3)])).await.is_nothing());
    let earlier = lineage("Z", "7-0", &[(5, "X", 8), (6, "Y", 2)]);
    assert_eq!(lost(&journal, earlier).await.accounts.len(), 1);
}

/// A command beside the server raises it too, and may note that after the server has noted what it has changed since.
#[tokio::test]
async fn what_was_changed_while_the_store_was_raised_is_not_taken_for_what_it_had_then() {
    let revoked = |epoch: &str| {
        let lineage = lineage("X", epoch, &[]);
        Entry::of(&lineage, lineage.now, now(), Change::Keys { revoked: Some("k".to_owned()) })
    };
    let entries =
        [change("X", account(1), "5-1", "5-9", 2), change("X", account(2), "5-2", "5-11", 3), revoked("5-12")];
    let (scene, journal) = Scene::with(&entries).await;
    let is_found = async || {
        let found = lost(&journal, lineage("Y", "6-0", &[(5, "X", 10)])).await;
        assert_eq!(found.accounts.iter().map(|lost| lost.after.id).collect::<Vec<_>>(), [account(2)]);
        assert!(found.keys && found.revoked.contains("k"));
        assert!(lost(&journal, lineage("Y", "6-0", &[(5, "X", 12)])).await.is_nothing());
    };
    is_found().await;
    journal.append(&raised("X", "5-10")).await.unwrap();
    is_found().await;
    // Also where another segment was begun in between.
    fs::write(scene.last_file(), entries.iter().map(Entry::to_line).collect::<String>()).unwrap();
    fs::write(segment::path_of(&scene.path(), 2), raised("X", "5-10").to_line()).unwrap();
    is_found().await;
}

/// No epoch is about them, so that a copy which has them all may lack that.
#[tokio::test]
async fn sessions_that_were_ended_shortly_before_the_store_was_raised_are_ended_again() {
    let id: SessionId = format!("{:032x}", 1).parse().unwrap();
    let (_scene, journal) = Scene::with(&[Entry::of_sessions(&[id], now()), raised("X", "5-9")]).await;
    assert_eq!(lost(&journal, lineage("Y", "6-0", &[(5, "X", 9)])).await.sessions, [id]);
}

/// A term may begin far beyond the one before it: how far says nothing of what is remembered.
#[tokio::test]
async fn a_term_counts_as_known_where_it_is_older_than_those_that_are_remembered_and_not_by_its_distance() {
    let (_scene, journal) = Scene::with(&[change("X", account(1), "3-1", "5-9", 2)]).await;
    let far = lineage("Y", "9000-0", &[(3, "X", 8)]);
    assert_eq!(lost(&journal, far).await.accounts.len(), 1);
    let remembered: Vec<(u64, &str, u64)> = (6..6 + super::KEPT_TERMS).map(|term| (term, "X", 1)).collect();
    assert!(lost(&journal, lineage("Y", "9000-0", &remembered)).await.is_nothing());
    assert_eq!(lost(&journal, lineage("Y", "9000-0", &remembered[1..])).await.accounts.len(), 1);
}

#[tokio::test]
async fn entries_of_other_datasets_are_nobodys() {
    let (_scene, journal) = Scene::with(&[change("X", account(1), "5-1", "5-9", 2)]).await;
    let other = || Lineage::read("another", "Y", "6-0".parse().unwrap(), "");
    assert!(lost(&journal, other()).await.is_nothing());
    // Nor do they stand before what is somebody's.
    let role = |dataset: &str, epoch: &str| {
        let lineage = Lineage::read(dataset, "X", epoch.parse().unwrap(), "");
        let after = RoleAfter { name: "deploy".parse().unwrap(), grants: BTreeSet::new() };
        Entry::of(&lineage, lineage.now, now(), Change::Role(after))
    };
    for entry in [role("another", "5-9"), role("d", "5-10")] {
        journal.append(&entry).await.unwrap();
    }
    assert_eq!(lost(&journal, other()).await.roles.len(), 1);
}

#[tokio::test]
async fn what_is_torn_at_the_end_is_cut_off_and_what_comes_next_can_be_read() {
    let (a, b) = (account(1), account(2));
    let (scene, journal) = Scene::with(&[change("X", a, "5-1", "5-9", 2)]).await;
    drop(journal);
    let whole = fs::read(scene.last_file()).unwrap();
    let next = change("X", b, "5-1", "5-10", 2);
    let line = next.to_line();
    for cut in 1..line.len() {
        fs::write(scene.last_file(), [&whole, &line.as_bytes()[..cut]].concat()).unwrap();
        let journal = scene.open().unwrap();
        assert_eq!(fs::read(scene.last_file()).unwrap(), whole, "{cut}");
        drop(journal);
    }
    // Blocks that the disk never got.
    fs::write(scene.last_file(), [&whole[..], &[0; 100]].concat()).unwrap();
    let journal = scene.open().unwrap();
    journal.append(&next).await.unwrap();
    assert_eq!(lost(&journal, lineage("Y", "6-0", &[])).await.accounts.len(), 2);
}

#[tokio::test]
async fn damage_before_the_end_is_refused_and_says_where_and_what_to_do() {
    let entries = [change("X", account(1), "5-1", "5-9", 2), change("X", account(2), "5-1", "5-10", 2)];
    let (scene, journal) = Scene::with(&entries).await;
    let whole = fs::read(scene.last_file()).unwrap();
    let first = entries[0].to_line().len();
    for place in [0, 9, first / 2, first - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(scene.last_file(), damaged).unwrap();
        let error = scene.open().unwrap_err().to_string();
        assert!(error.contains("damaged at line 1 of") && error.contains("move it away"), "{place}: {error}");
        assert!(journal.lost(Arc::new(lineage("Y", "6-0", &[])), now()).await.is_err());
        assert!(Journal::check(&scene.path()).is_err());
    }
    fs::write(scene.last_file(), whole).unwrap();
    assert_eq!(Journal::check(&scene.path()).unwrap(), 2);
}

#[tokio::test]
async fn two_processes_write_to_one_journal() {
    let (scene, one) = Scene::with(&[]).await;
    let other = scene.open().unwrap();
    assert_eq!(one.issuer(), other.issuer());
    for number in 0..50 {
        let entry = change("X", account(number), "5-1", &format!("5-{}", number + 2), 2);
        let (mine, yours) = (&one, &other);
        if number % 2 == 0 { mine } else { yours }.append(&entry).await.unwrap();
    }
    assert_eq!(lost(&one, lineage("Y", "6-0", &[])).await.accounts.len(), 50);
}

#[tokio::test]
async fn a_journal_that_can_not_be_written_says_so_until_it_can() {
    let (scene, journal) = Scene::with(&[change("X", account(1), "5-1", "5-9", 2)]).await;
    let (path, aside) = (scene.path(), scene.directory.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    assert!(journal.append(&change("X", account(2), "5-1", "5-10", 2)).await.is_err());
    assert!(journal.trouble().is_some());
    let next = change("X", account(2), "5-1", "5-10", 2).change;
    assert!(journal.ready(&next).await.is_err());
    fs::rename(&aside, &path).unwrap();
    journal.ready(&next).await.unwrap();
    assert!(journal.trouble().is_none());
    assert_eq!(Journal::check(&path).unwrap(), 1);
}

/// As on a disk that hangs, or where a process is stopped while it reads.
#[tokio::test]
async fn a_journal_that_hangs_says_so_and_keeps_nobody_waiting_until_it_goes_on() {
    let scene = Scene::new();
    let patience = Duration::from_millis(200);
    let journal = Journal::begin(&scene.path(), 400 * DAY, super::compaction::SIZES, patience).unwrap();
    let [first, next] = [1, 2].map(|number| change("X", account(number), "5-1", "5-9", 2));
    let promise = journal.ready(&first.change).await.unwrap();
    let held = lock::writing(&scene.path()).unwrap();
    let hangs = |error: JournalError| assert!(error.to_string().contains("the disk hangs"), "{error}");
    hangs(journal.note(&promise, &first).await.unwrap_err());
    while journal.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    hangs(journal.ready(&next.change).await.unwrap_err());
    drop(held);
    while journal.ready(&next.change).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(journal.trouble().is_none());
    journal.append(&next).await.unwrap();
    assert_eq!(Journal::check(&scene.path()).unwrap(), 2);
}

/// What a command beside it writes is half there for a while.
#[tokio::test]
async fn a_line_that_becomes_whole_while_the_journal_is_read_is_no_damage_and_is_not_missed() {
    let (scene, journal) = Scene::with(&[change("X", account(1), "5-1", "5-9", 2)]).await;
    let line = change("X", account(2), "5-1", "5-10", 2).to_line();
    let (half, rest) = line.split_at(100);
    let append = |text: &str| {
        let mut file = fs::File::options().append(true).open(scene.last_file()).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let writes = lock::writing(&scene.path()).unwrap();
    append(half);
    let reads = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { lost(&journal, lineage("Y", "6-0", &[])).await }
    });
    let path = scene.path();
    let checks = tokio::task::spawn_blocking(move || Journal::check(&path));
    for _ in 0..20 {
        // Neither may end before the line is whole.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!reads.is_finished() && !checks.is_finished());
    }
    append(rest);
    drop(writes);
    assert_eq!(reads.await.unwrap().accounts.len(), 2);
    assert_eq!(checks.await.unwrap().unwrap(), 2);
}

#[test]
fn an_entry_holds_no_secret_and_reads_back() {
    let entry = change("X", account(1), "5-1", "5-9", 2);
    let line = entry.to_line();
    assert_eq!(entry::parse(line.as_bytes()), Some(entry));
    assert!(line.contains(r#""record":{"r":"auditor","u":"ci","g":2}"#), "{line}");
    assert!(line.len() < 300, "{} bytes", line.len());
}

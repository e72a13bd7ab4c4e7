//! The files of an archive, in the order in which they are checked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::super::answer::Failure;
use super::verify::Lines;
use crate::audit::archive::SegmentName;
use crate::audit::proof::{Record, Verification};

/// Of the first line of a segment.
const LONGEST_FIRST: u64 = 64 * 1024;

/// A file of an archive.
struct Found {
    name: SegmentName,
    path: PathBuf,
}

/// Checks the segments in these directories: together they are one archive.
pub fn read(directories: &[PathBuf], verification: &mut Verification) -> Result<(), Failure> {
    let (segments, aside) = chosen(found(directories)?);
    for Found { path, .. } in aside {
        verification.note(format!(
            "{}: it is another segment of the same number, which did not count, and is left out",
            path.display()
        ));
    }
    let mut line = String::new();
    for Found { name, path } in segments {
        verification.begin_segment(&name.file());
        let mut lines = Lines::open(&path)?;
        while lines.next(&mut line, verification)? {
            verification.line(&line);
        }
    }
    verification.end_archive();
    Ok(())
}

/// All of them, once, by their streams and numbers.
fn found(directories: &[PathBuf]) -> Result<BTreeMap<(String, u64), Vec<Found>>, Failure> {
    let mut all: BTreeMap<(String, u64), Vec<Found>> = BTreeMap::new();
    for directory in directories {
        let mut is_empty = true;
        for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
            let entry = entry.map_err(unreadable(directory))?;
            let Some(name) = SegmentName::read(&entry.file_name().to_string_lossy()) else { continue };
            is_empty = false;
            let of_number = all.entry((name.stream.clone(), name.number)).or_default();
            // The same file may have been copied together from several places.
            if of_number.iter().all(|found| found.name != name) {
                of_number.push(Found { name, path: entry.path() });
            }
        }
        if is_empty {
            return Err(Failure::new(format!("there is no segment of an archive in {}", directory.display()))
                .next("name the directory that is audit.archive_dir of the server, or a copy of it"));
        }
    }
    Ok(all)
}

/// One of each number, in their order, and the others: the next one says which it follows. Of several last ones it is any.
fn chosen(all: BTreeMap<(String, u64), Vec<Found>>) -> (Vec<Found>, Vec<Found>) {
    let (mut segments, mut aside) = (Vec::new(), Vec::new());
    let mut followed: Option<(String, u64, String)> = None;
    for ((stream, number), mut of_number) in all.into_iter().rev() {
        of_number.sort_by(|one, other| one.name.cmp(&other.name));
        let is_followed = |found: &Found| {
            let next = followed.as_ref().filter(|(of, next, _)| (of, *next) == (&stream, number + 1));
            next.is_some_and(|(.., hash)| found.name.is_of(hash))
        };
        let place = of_number.iter().position(is_followed).unwrap_or(of_number.len().saturating_sub(1));
        if place < of_number.len() {
            let segment = of_number.swap_remove(place);
            followed = previous(&segment.path).map(|previous| (stream, number, previous));
            segments.push(segment);
        }
        aside.append(&mut of_number);
    }
    segments.reverse();
    (segments, aside)
}

/// Which segment one follows, as it says.
fn previous(path: &Path) -> Option<String> {
    let mut line = String::new();
    BufReader::new(File::open(path).ok()?).take(LONGEST_FIRST).read_line(&mut line).ok()?;
    match serde_json::from_str(&line) {
        Ok(Record::Segment { previous, .. }) => Some(previous),
        _ => None,
    }
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |error| {
        Failure::new(format!("{} can't be read: {error}", path.display()))
            .next("name the directory that is audit.archive_dir of the server, or a copy of it")
    }
}

//! A3: whatever is done to an archive afterwards is found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countermark::audit::archive::SegmentName;
use countermark::audit::checkpoint::Part;
use countermark::authority::{Archiving, Checkpoints};

use super::archive::{archived_to, grown, segments, together};
use super::tampering::{Dice, rounds};
use super::{audit_keys, busy, exported, sound};
use crate::app::{App, Setup};

/// An archive of several segments of each stream, and what is in the store.
async fn an_archive(directory: &Path) -> (App, Vec<String>) {
    let app = App::with(Setup { firehose: 20, archive: archived_to(directory, 6_000), ..Setup::default() }).await;
    let (mut known, mut archive) = (Checkpoints::default(), Archiving::default());
    app.authority.archive(&mut archive).await.unwrap();
    // All of it is old enough.
    app.clock.advance(std::time::Duration::from_secs(7_200));
    for name in ["a", "b", "c"] {
        grown(&app, name, 25).await;
        app.authority.checkpoint(&mut known).await.unwrap();
        app.authority.archive(&mut archive).await.unwrap();
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    let export = exported(&app, Part::default()).await;
    (app, export)
}

#[tokio::test]
async fn a3_whatever_is_done_to_an_archive_is_found_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (app, export) = an_archive(directory).await;
    let keys = audit_keys(&app).await;
    sound(&together(&keys, &[directory], Some(&export)));
    let files = segments(&[directory]);
    let of_stream = files.iter().fold(BTreeMap::<&str, u64>::new(), |mut counts, (name, _)| {
        *counts.entry(&name.stream).or_default() += 1;
        counts
    });
    assert!(of_stream.len() == 2 && of_stream.values().all(|count| *count >= 3), "{of_stream:?}");
    let texts: Vec<String> = files.iter().map(|(_, path)| std::fs::read_to_string(path).unwrap()).collect();
    let found = |what: &str, file: &SegmentName, is_last: bool| {
        // The last one of a stream is missed by whoever knows what was signed since.
        let alone = together(&keys, &[directory], None);
        let with = together(&keys, &[directory], Some(&export));
        for report in if is_last { vec![with] } else { vec![alone, with] } {
            assert!(!report.is_sound(), "{what}");
            let (number, stream) = (file.number, &file.stream);
            let place = [
                file.file(),
                format!("egment {number} of the stream {stream}"),
                format!("egments {number} to "),
                format!("segment {number} was signed"),
            ];
            let is_told = report.findings.iter().any(|finding| place.iter().any(|place| finding.contains(place)));
            assert!(is_told, "{what}: {:#?}", report.findings);
        }
    };
    for round in 0..rounds() {
        let mut dice = Dice(round);
        let chosen = dice.below(files.len());
        let ((name, path), text) = (&files[chosen], &texts[chosen]);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let place = dice.below(lines.len());
        let what = match dice.below(6) {
            0 => {
                let line = &mut lines[place];
                let at = dice.below(line.len());
                let old = line.as_bytes()[at];
                let new = [b'0', b'1', b'a', b'b', b'"', b' '].into_iter().find(|new| *new != old).unwrap();
                let mut bytes = line.clone().into_bytes();
                bytes[at] = new;
                *line = String::from_utf8_lossy(&bytes).into_owned();
                format!("byte {at} of line {place} is {:?}", char::from(new))
            }
            1 => format!("line {place} is gone: {}", lines.remove(place)),
            2 => {
                let other = dice.below(lines.len());
                lines.swap(place, other);
                format!("lines {place} and {other} have changed places")
            }
            3 => {
                let line = lines[place].clone();
                lines.insert(dice.below(lines.len()), line);
                format!("line {place} is there again")
            }
            4 => {
                lines.truncate(place);
                format!("it ends before line {place}")
            }
            _ => {
                let bytes = dice.below(text.len() - 1);
                std::fs::write(path, &text.as_bytes()[..bytes]).unwrap();
                found(&format!("{}: it ends after {bytes} bytes", name.file()), name, false);
                std::fs::write(path, text).unwrap();
                continue;
            }
        };
        let changed = lines.join("\n") + "\n";
        if changed != *text {
            std::fs::write(path, changed).unwrap();
            found(&format!("round {round}: {}: {what}", name.file()), name, false);
            std::fs::write(path, text).unwrap();
        }
    }
    // Each of them missing, and each with the place of another.
    for (place, ((name, path), text)) in files.iter().zip(&texts).enumerate() {
        let is_last = files.get(place + 1).is_none_or(|(next, _)| next.stream != name.stream);
        std::fs::remove_file(path).unwrap();
        found(&format!("{} is gone", name.file()), name, is_last);
        std::fs::write(path, text).unwrap();
        let (other, other_path) = &files[(place + 1) % files.len()];
        let other_text = &texts[(place + 1) % files.len()];
        std::fs::write(path, other_text).unwrap();
        std::fs::write(other_path, text).unwrap();
        found(&format!("{} and {} have changed places", name.file(), other.file()), name, false);
        std::fs::write(other_path, other_text).unwrap();
        std::fs::write(path, text).unwrap();
    }
    // All of a stream.
    for stream in of_stream.keys() {
        let of: Vec<(&PathBuf, &String)> = files
            .iter()
            .zip(&texts)
            .filter(|((name, _), _)| name.stream == **stream)
            .map(|((_, path), text)| (path, text))
            .collect();
        of.iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
        let report = together(&keys, &[directory], Some(&export));
        let what = format!("the archive of the stream {stream} ends with segment 0");
        assert!(report.findings.iter().any(|finding| finding.contains(&what)), "{report:#?}");
        of.iter().for_each(|(path, text)| std::fs::write(path, text).unwrap());
    }
    sound(&together(&keys, &[directory], Some(&export)));
    // Other keys, and another dataset.
    assert!(!together(&[], &[directory], None).is_sound());
    let other = App::start().await;
    assert!(!together(&audit_keys(&other).await, &[directory], None).is_sound());
}

#[tokio::test]
async fn a3_what_is_in_the_store_and_in_the_archive_has_to_be_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (app, export) = an_archive(directory).await;
    let keys = audit_keys(&app).await;
    let report = together(&keys, &[directory], Some(&export));
    sound(&report);
    // An export that was made before is a part of it, and so is what was asked for by time.
    busy(&app, "later").await;
    let (mut known, mut archive) = (Checkpoints::default(), Archiving::default());
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.archive(&mut archive).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    sound(&together(&keys, &[directory], Some(&export)));
    let from = Part { from: Some(super::real_time()), ..Part::default() };
    busy(&app, "last").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    sound(&together(&keys, &[directory], Some(&exported(&app, from).await)));
    let of_account =
        Part { account: Some(app.look("a").await["id"].as_str().unwrap().parse().unwrap()), ..Part::default() };
    sound(&together(&keys, &[directory], Some(&exported(&app, of_account).await)));
    // Of another service.
    let elsewhere = tempfile::tempdir().unwrap();
    let (other, of_other) = an_archive(elsewhere.path()).await;
    let all = [keys, audit_keys(&other).await].concat();
    let report = together(&all, &[directory], Some(&of_other));
    assert!(report.findings.iter().any(|what| what.contains("the archive is of another one")), "{report:#?}");
}

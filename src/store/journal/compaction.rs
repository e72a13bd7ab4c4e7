//! Old segments lose what later entries say anew.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::segment::{self, SegmentFile};
use super::{Change, Entry, JournalError, unusable};
use crate::clock::{Clock as _, SystemClock};

/// So many segments stay as they are, the latest: at least 100,000 changes.
pub(super) const LATEST: usize = 48;

/// Of what lies before the latest segments, only the last entry of each account, each role and each key stays, for as long as
/// entries are kept; and one file.
pub(super) fn compact(directory: &Path, keep_for: Duration) -> Result<(), JournalError> {
    let all = segment::all_in(directory)?;
    let Some(old) = all.len().checked_sub(LATEST).and_then(|old| all.get(..old)).filter(|old| old.len() > 1) else {
        return Ok(());
    };
    let oldest = SystemClock.now().timestamp().saturating_sub_unsigned(keep_for.as_secs());
    let mut later = HashSet::new();
    for file in all.iter().skip(old.len()) {
        segment::read(file, |entry| _ = later.insert(entry.about()))?;
    }
    let mut kept: Vec<String> = Vec::new();
    for file in old.iter().rev() {
        let mut last = HashMap::new();
        let mut number = 0_usize;
        segment::read(file, |entry| {
            last.insert(entry.about(), number);
            number += 1;
        })?;
        let mut lines = Vec::new();
        number = 0;
        segment::read(file, |entry| {
            let about = entry.about();
            let is_last = last.get(&about) == Some(&number) && !later.contains(&about);
            if is_last && stays(&entry, oldest) {
                lines.push(entry.to_line());
            }
            number += 1;
        })?;
        later.extend(last.into_keys());
        kept.extend(lines.into_iter().rev());
    }
    kept.reverse();
    replace(old, &kept.concat())
}

fn stays(entry: &Entry, oldest: i64) -> bool {
    entry.at >= oldest && !matches!(entry.change, Change::Sessions(_))
}

/// The file that has it all first, then the others go: what was killed in between reads some entries twice, and in their order.
fn replace(old: &[SegmentFile], lines: &str) -> Result<(), JournalError> {
    let Some((last, others)) = old.split_last() else { return Ok(()) };
    crate::durable::write(&last.path, lines.as_bytes(), 0o600).map_err(unusable(&last.path))?;
    for file in others {
        std::fs::remove_file(&file.path).map_err(unusable(&file.path))?;
    }
    Ok(())
}

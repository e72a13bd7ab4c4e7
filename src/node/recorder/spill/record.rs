//! What lies in a segment: a line that names the node, and records.
//!
//! A record is its kind (one byte), the length of what follows (four bytes), a CRC-32 over what follows (four), another one over all
//! that (four), and what follows. A batch: its number (eight bytes), how many events it has (four), and their lines. Done: the number
//! of the last batch that needs no place any more. Numbers have their lowest byte first.

use std::io::{self, BufRead as _, BufReader, Read};

use crate::audit::id_of;
use crate::node::recorder::Lines;

const BATCH: u8 = b'B';
const DONE: u8 = b'D';
const HEAD: usize = 13;
/// What of it has a checksum of its own.
const HEAD_PROPER: usize = 9;
const BATCH_HEAD: usize = 12;
const FIRST_LINE: &str = "countermark-spill 1 ";
const FIRST_LINE_BYTES: u64 = 128;

/// What a record says, without the lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A batch.
    Batch {
        /// Its number.
        number: u64,
        /// How many events it has.
        count: usize,
        /// The id of the first of them, for comparison.
        first: String,
    },
    /// The store has all up to this one.
    Done(u64),
}

/// A record, and where it lies.
pub(super) struct Placed {
    pub(super) place: u64,
    pub(super) length: usize,
    pub(super) record: Record,
}

/// How a segment ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After a whole record.
    Whole,
    /// In the middle of the last one: whoever wrote it was killed.
    Torn,
    /// Something in the middle is not what was written; what comes after it can't be read.
    Damaged,
}

/// The first line of a segment of this node.
pub(super) fn first_line(node: &str) -> String {
    format!("{FIRST_LINE}{node}\n")
}

/// A batch, as it is written.
pub(super) fn batch(number: u64, lines: &Lines) -> Vec<u8> {
    let count = u32::try_from(lines.count).unwrap_or(u32::MAX);
    record(BATCH, &[&number.to_le_bytes(), &count.to_le_bytes(), lines.text.as_bytes()])
}

/// The store has all up to this one.
pub(super) fn done(number: u64) -> Vec<u8> {
    record(DONE, &[&number.to_le_bytes()])
}

fn record(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(HEAD + length);
    bytes.push(kind);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    let mut digest = crc32fast::Hasher::new();
    parts.iter().for_each(|part| digest.update(part));
    bytes.extend(digest.finalize().to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    parts.iter().for_each(|part| bytes.extend(*part));
    bytes
}

/// A batch that was read as it lies there. `None`: it is not what was written.
pub(super) fn lines_of(bytes: &[u8]) -> Option<&str> {
    let (head, body) = bytes.split_first_chunk()?;
    let Head { kind, length, checksum } = Head::of(head)?;
    if kind != BATCH || length != body.len() || crc32fast::hash(body) != checksum {
        return None;
    }
    std::str::from_utf8(body.get(BATCH_HEAD..)?).ok()
}

struct Head {
    kind: u8,
    length: usize,
    checksum: u32,
}

impl Head {
    fn of(head: &[u8; HEAD]) -> Option<Self> {
        let (proper, own) = head.split_first_chunk::<HEAD_PROPER>()?;
        if crc32fast::hash(proper) != u32::from_le_bytes(own.try_into().ok()?) {
            return None;
        }
        let (&kind, rest) = proper.split_first()?;
        let (length, checksum) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        Some(Self { kind, length, checksum: u32::from_le_bytes(checksum.try_into().ok()?) })
    }
}

fn said(kind: u8, body: &[u8]) -> Option<Record> {
    let (number, rest) = body.split_first_chunk()?;
    let number = u64::from_le_bytes(*number);
    match kind {
        DONE if rest.is_empty() => Some(Record::Done(number)),
        BATCH => {
            let (count, lines) = rest.split_first_chunk()?;
            let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
            let lines = std::str::from_utf8(lines).ok()?;
            let first = id_of(lines).unwrap_or_default().to_owned();
            (lines.lines().count() == count).then_some(Record::Batch { number, count, first })
        }
        _ => None,
    }
}

/// Reads a segment: its node (`None`: it is no segment), how many bytes are good, and how it ends. `each` is told the records.
pub(super) fn read(file: impl Read, mut each: impl FnMut(Placed)) -> io::Result<(Option<String>, u64, End)> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut line = String::new();
    match (&mut file).take(FIRST_LINE_BYTES).read_line(&mut line) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok((None, 0, End::Damaged)),
        Err(error) => return Err(error),
    }
    if line.is_empty() {
        return Ok((None, 0, End::Torn));
    }
    let Some(node) = line.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_suffix('\n')) else {
        let end = if FIRST_LINE.starts_with(&line) || line.starts_with(FIRST_LINE) { End::Torn } else { End::Damaged };
        return Ok((None, 0, end));
    };
    let node = Some(node.to_owned());
    let mut place = line.len() as u64;
    let (mut head, mut body) = ([0; HEAD], Vec::new());
    loop {
        let got = read_up_to(&mut file, &mut head)?;
        if got < HEAD {
            return Ok((node, place, if got == 0 { End::Whole } else { End::Torn }));
        }
        let Some(Head { kind, length, checksum }) = Head::of(&head) else { return Ok((node, place, End::Damaged)) };
        body.clear();
        if (&mut file).take(length as u64).read_to_end(&mut body)? < length {
            return Ok((node, place, End::Torn));
        }
        match said(kind, &body) {
            Some(record) if crc32fast::hash(&body) == checksum => {
                each(Placed { place, length: HEAD + length, record });
                place += (HEAD + length) as u64;
            }
            // The last one may have got its length and not its bytes.
            _ if file.fill_buf()?.is_empty() => return Ok((node, place, End::Torn)),
            _ => return Ok((node, place, End::Damaged)),
        }
    }
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Lines {
        Lines { text: text.to_owned(), count: text.lines().count() }
    }

    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = first_line("n").into_bytes();
        let mut ends = vec![bytes.len()];
        for record in [
            batch(1, &lines("{\"id\":\"a\",\"x\":1}\n{\"id\":\"b\"}\n")),
            done(1),
            batch(2, &lines("{\"id\":\"c\"}\n")),
        ] {
            bytes.extend(record);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn all(bytes: &[u8]) -> (Vec<Record>, u64, End) {
        let mut records = Vec::new();
        let (_, good, end) = read(bytes, |placed| records.push(placed.record)).unwrap();
        (records, good, end)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, ends) = segment();
        let (records, good, end) = all(&bytes);
        let first = |number, count, first: &str| Record::Batch { number, count, first: first.into() };
        assert_eq!(records, [first(1, 2, "a"), Record::Done(1), first(2, 1, "c")]);
        assert_eq!((good, end), (bytes.len() as u64, End::Whole));
        assert_eq!(lines_of(&bytes[ends[2]..]), Some("{\"id\":\"c\"}\n"));
    }

    #[test]
    fn whatever_the_end_is_what_stands_before_it_is_read() {
        let (bytes, ends) = segment();
        for length in 0..=bytes.len() {
            let (records, good, end) = all(&bytes[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(records.len(), whole.saturating_sub(1), "{length}");
            assert_eq!(end, if ends.contains(&length) { End::Whole } else { End::Torn }, "{length}");
            assert_eq!(good, ends.iter().filter(|end| **end <= length).max().copied().unwrap_or(0) as u64, "{length}");
        }
    }

    #[test]
    fn whatever_byte_is_changed_no_other_lines_come_out() {
        let (bytes, ends) = segment();
        for place in ends[0]..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x20;
            let (records, good, end) = all(&changed);
            let before = ends.iter().filter(|end| **end <= place).max().copied().unwrap();
            assert_eq!(good as usize, before, "{place}");
            assert_eq!(records.len(), ends.iter().position(|end| *end == before).unwrap(), "{place}");
            assert_ne!(end, End::Whole, "{place}");
        }
        // In the middle it is no torn end, whatever the length says.
        for place in ends[0]..ends[1] {
            let mut changed = bytes.clone();
            changed[place] ^= 0x20;
            assert_eq!(all(&changed).2, End::Damaged, "{place}");
        }
        let mut changed = bytes.clone();
        changed[ends[2] + HEAD + BATCH_HEAD + 3] ^= 1;
        assert_eq!(lines_of(&changed[ends[2]..]), None);
    }

    #[test]
    fn what_is_no_segment_is_none() {
        assert_eq!(read(&b"something else\n"[..], |_| {}).unwrap(), (None, 0, End::Damaged));
        assert_eq!(read(&[0xff; 300][..], |_| {}).unwrap(), (None, 0, End::Damaged));
        assert_eq!(read(&b""[..], |_| {}).unwrap(), (None, 0, End::Torn));
    }
}

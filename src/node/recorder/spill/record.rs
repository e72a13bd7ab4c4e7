//! What lies in a segment: a line that names the node, and records.
//!
//! A record is its kind (one byte), the length of what follows (four bytes), how many events it has (four), a CRC-32 over what follows
//! (four), another one over all that (four), and what follows. A batch: its number (eight bytes), and the lines. Done: the number of
//! the last batch that needs no place any more. Numbers have their lowest byte first.

use std::io::{self, BufRead as _, BufReader, Read};

use uuid::Uuid;

use crate::audit::id_of;
use crate::node::recorder::Lines;

const BATCH: u8 = b'B';
const DONE: u8 = b'D';
const HEAD: usize = 17;
/// What of it has a checksum of its own.
const HEAD_PROPER: usize = 13;
const NUMBER: usize = 8;
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
        first: Option<Uuid>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// After a whole record.
    Whole,
    /// In the middle of the last one: whoever wrote it was killed.
    Torn,
    /// Something in the middle is not what was written. Where it is the head of a record, what comes after it can't be read.
    Damaged,
}

/// The first line of a segment of this node.
pub(super) fn first_line(node: &str) -> String {
    format!("{FIRST_LINE}{node}\n")
}

/// A batch, as it is written.
pub(super) fn batch(number: u64, lines: &Lines) -> Vec<u8> {
    record(BATCH, lines.count, &[&number.to_le_bytes(), lines.text.as_bytes()])
}

/// The store has all up to this one.
pub(super) fn done(number: u64) -> Vec<u8> {
    record(DONE, 0, &[&number.to_le_bytes()])
}

fn record(kind: u8, count: usize, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(HEAD + length);
    bytes.push(kind);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    let mut digest = crc32fast::Hasher::new();
    parts.iter().for_each(|part| digest.update(part));
    bytes.extend(digest.finalize().to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    parts.iter().for_each(|part| bytes.extend(*part));
    bytes
}

/// The lines of batches that lie one behind the other, as far as they are what was written.
pub(super) fn lines_of(mut bytes: &[u8]) -> Lines {
    let mut lines = Lines::default();
    while let Some((head, rest)) = bytes.split_first_chunk()
        && let Some(Head { kind, length, count, checksum }) = Head::of(head)
        && let Some((body, rest)) = rest.split_at_checked(length)
    {
        bytes = rest;
        let is_sound = kind == BATCH && crc32fast::hash(body) == checksum;
        if let Some(text) = body.get(NUMBER..).filter(|_| is_sound).and_then(|lines| std::str::from_utf8(lines).ok()) {
            lines.text.push_str(text);
            lines.count += count;
        }
    }
    lines
}

struct Head {
    kind: u8,
    length: usize,
    count: usize,
    checksum: u32,
}

impl Head {
    fn of(head: &[u8; HEAD]) -> Option<Self> {
        let (proper, own) = head.split_first_chunk::<HEAD_PROPER>()?;
        if crc32fast::hash(proper) != u32::from_le_bytes(own.try_into().ok()?) {
            return None;
        }
        let (&kind, rest) = proper.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (count, checksum) = rest.split_first_chunk()?;
        let number = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
        Some(Self {
            kind,
            length: number(length)?,
            count: number(count)?,
            checksum: u32::from_le_bytes(checksum.try_into().ok()?),
        })
    }
}

fn said(kind: u8, count: usize, body: &[u8]) -> Option<Record> {
    let (number, rest) = body.split_first_chunk()?;
    let number = u64::from_le_bytes(*number);
    match kind {
        DONE if rest.is_empty() => Some(Record::Done(number)),
        BATCH => {
            let lines = std::str::from_utf8(rest).ok()?;
            let first = id_of(lines).and_then(|id| id.parse().ok());
            (lines.lines().count() == count).then_some(Record::Batch { number, count, first })
        }
        _ => None,
    }
}

/// What a segment is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Who wrote it. `None`: it is no segment.
    pub(super) node: Option<String>,
    /// So many bytes can be read.
    pub(super) length: u64,
    pub(super) end: End,
    /// Events that can't be read any more, as far as that can be told.
    pub(super) lost: usize,
}

/// Reads a segment. `each` is told the records.
pub(super) fn read(file: impl Read, mut each: impl FnMut(Placed)) -> io::Result<Seen> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let none = |end| Seen { node: None, length: 0, end, lost: 0 };
    let mut line = String::new();
    match (&mut file).take(FIRST_LINE_BYTES).read_line(&mut line) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(none(End::Damaged)),
        Err(error) => return Err(error),
    }
    let Some(node) = line.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_suffix('\n')) else {
        let is_torn = FIRST_LINE.starts_with(&line) || line.starts_with(FIRST_LINE);
        return Ok(none(if is_torn { End::Torn } else { End::Damaged }));
    };
    let mut seen = Seen { node: Some(node.to_owned()), length: line.len() as u64, end: End::Whole, lost: 0 };
    let (mut head, mut body) = ([0; HEAD], Vec::new());
    loop {
        let got = read_up_to(&mut file, &mut head)?;
        if got < HEAD {
            let end = if got == 0 { seen.end } else { End::Torn };
            return Ok(Seen { end, ..seen });
        }
        let Some(Head { kind, length, count, checksum }) = Head::of(&head) else {
            return Ok(Seen { end: End::Damaged, ..seen });
        };
        body.clear();
        if (&mut file).take(length as u64).read_to_end(&mut body)? < length {
            return Ok(Seen { end: End::Torn, ..seen });
        }
        match said(kind, count, &body) {
            Some(record) if crc32fast::hash(&body) == checksum => {
                each(Placed { place: seen.length, length: HEAD + length, record });
            }
            // The last one may have got its length and not its bytes.
            _ if file.fill_buf()?.is_empty() => return Ok(Seen { end: End::Torn, ..seen }),
            _ => (seen.end, seen.lost) = (End::Damaged, seen.lost + count),
        }
        seen.length += (HEAD + length) as u64;
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

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn lines(numbers: &[u128]) -> Lines {
        let text = numbers.iter().map(|number| format!("{{\"id\":\"{}\"}}\n", id(*number))).collect();
        Lines { text, count: numbers.len() }
    }

    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = first_line("n").into_bytes();
        let mut ends = vec![bytes.len()];
        for record in [batch(1, &lines(&[1, 2])), done(1), batch(2, &lines(&[3]))] {
            bytes.extend(record);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn all(bytes: &[u8]) -> (Vec<Record>, Seen) {
        let mut records = Vec::new();
        let seen = read(bytes, |placed| records.push(placed.record)).unwrap();
        (records, seen)
    }

    fn first(number: u64, count: usize, first: u128) -> Record {
        Record::Batch { number, count, first: Some(id(first)) }
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, ends) = segment();
        let (records, seen) = all(&bytes);
        assert_eq!(records, [first(1, 2, 1), Record::Done(1), first(2, 1, 3)]);
        let whole = Seen { node: Some("n".into()), length: bytes.len() as u64, end: End::Whole, lost: 0 };
        assert_eq!(seen, whole);
        let read = lines_of(&bytes[ends[2]..]);
        assert_eq!((read.text, read.count), (lines(&[3]).text, 1));
        let two = [batch(1, &lines(&[1, 2])), batch(2, &lines(&[3]))].concat();
        assert_eq!(lines_of(&two).text, lines(&[1, 2, 3]).text);
    }

    #[test]
    fn whatever_the_end_is_what_stands_before_it_is_read() {
        let (bytes, ends) = segment();
        for length in 0..=bytes.len() {
            let (records, seen) = all(&bytes[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(records.len(), whole.saturating_sub(1), "{length}");
            assert_eq!(seen.end, if ends.contains(&length) { End::Whole } else { End::Torn }, "{length}");
            let good = ends.iter().filter(|end| **end <= length).max().copied().unwrap_or(0);
            assert_eq!(seen.length, good as u64, "{length}");
        }
    }

    #[test]
    fn whatever_byte_is_changed_no_other_lines_come_out() {
        let (bytes, ends) = segment();
        let whole = all(&bytes).0;
        for place in ends[0]..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x20;
            let (records, seen) = all(&changed);
            assert!(records.len() < whole.len() && records.iter().all(|record| whole.contains(record)), "{place}");
            assert_ne!(seen.end, End::Whole, "{place}");
            let is_last = place >= ends[2] + HEAD;
            assert_eq!(seen.end, if is_last { End::Torn } else { End::Damaged }, "{place}");
        }
        let mut changed = bytes.clone();
        changed[ends[2] + HEAD + NUMBER + 3] ^= 1;
        assert_eq!(lines_of(&changed[ends[2]..]).count, 0);
    }

    #[test]
    fn what_comes_after_a_damaged_batch_is_read() {
        let (mut bytes, ends) = segment();
        bytes[ends[0] + HEAD + NUMBER + 3] ^= 1;
        let (records, seen) = all(&bytes);
        assert_eq!(records, [Record::Done(1), first(2, 1, 3)]);
        assert_eq!((seen.end, seen.lost, seen.length), (End::Damaged, 2, bytes.len() as u64));
    }

    #[test]
    fn what_is_no_segment_is_none() {
        let none = |end| Seen { node: None, length: 0, end, lost: 0 };
        assert_eq!(all(b"something else\n").1, none(End::Damaged));
        assert_eq!(all(&[0xff; 300]).1, none(End::Damaged));
        assert_eq!(all(b"").1, none(End::Torn));
    }
}

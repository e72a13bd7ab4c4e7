//! The file: a header that anybody can read, and sealed below it the records, compressed.

use std::io::{self, BufRead, BufReader, Read, Write};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::record::{End, Record};
use super::sealed::{Broken, Opening, Sealing};
use crate::clock::{random, rfc3339};
use crate::keyring::MasterKey;

/// The first line.
const MAGIC: &str = "countermark backup";
/// Of what is written here. Another one is refused.
const VERSION: u32 = 1;
/// A header is a line of some hundred bytes.
const HEADER: u64 = 4096;
/// No record is longer: a block has at most 1,024 events.
const RECORD: u32 = 64 * 1024 * 1024;
/// How much the decompression may look back, as a power of two: the file does not decide how much memory that takes.
const WINDOW: u32 = 23;
const LEVEL: i32 = 3;
const PURPOSE: &str = "countermark backup 1";

/// What anybody can read of a backup. It is sealed with the rest: nobody can change it unnoticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    version: u32,
    /// The dataset.
    pub dataset: String,
    /// Its issuer.
    pub issuer: String,
    /// When it was begun.
    #[serde(with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// The [name](MasterKey::id) of the master key that opens it.
    pub master_key: String,
    /// 32 random bytes in base64url: the file's own, and so its name.
    salt: String,
}

impl Header {
    /// Of a new file.
    pub fn new(dataset: &str, issuer: &str, now: DateTime<Utc>, master: &MasterKey) -> io::Result<Self> {
        let salt = URL_SAFE_NO_PAD.encode(random::<32>().map_err(io::Error::other)?);
        let (dataset, issuer, master_key) = (dataset.to_owned(), issuer.to_owned(), master.id());
        Ok(Self { version: VERSION, dataset, issuer, created_at: now, master_key, salt })
    }

    /// The name of this file, among all there are.
    pub fn id(&self) -> &str {
        self.salt.get(..16).unwrap_or(&self.salt)
    }

    fn to_text(&self) -> io::Result<String> {
        Ok(format!("{MAGIC}\n{}\n", serde_json::to_string(self)?))
    }

    fn key(&self, master: &MasterKey) -> io::Result<zeroize::Zeroizing<[u8; 32]>> {
        master.derived(self.salt.as_bytes(), PURPOSE).map_err(io::Error::other)
    }
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is something else.
    #[error("it is no backup of Countermark")]
    NoBackup,
    /// A later version has written it.
    #[error(
        "it is of version {0} of the format, and this version of Countermark reads version {VERSION}; use the one that wrote it, or a newer one"
    )]
    Newer(u64),
    /// The master key is another one.
    #[error("it is sealed under the master key {sealed}, and the one that was given is {given}")]
    MasterKey {
        /// The name of the one that opens it.
        sealed: String,
        /// The name of the one that does not.
        given: String,
    },
    /// It was changed, cut off, or put together from others.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It can't be read or written.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Broken>()) {
            Some(broken) => Self::Damaged(broken.to_string()),
            // What the decompression or the length of a record does not like.
            None if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Self::Damaged(error.to_string())
            }
            None => Self::Io(error),
        }
    }
}

/// Whether a file that begins so is a backup, whole or not.
pub fn is_backup(beginning: &[u8]) -> bool {
    beginning.strip_prefix(MAGIC.as_bytes()).is_some_and(|rest| rest.starts_with(b"\n"))
}

/// A backup that is being written.
pub(super) struct Writer<W: Write> {
    sealing: zstd::stream::write::Encoder<'static, Sealing<W>>,
    end: End,
    record: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut to: W, header: &Header, master: &MasterKey) -> io::Result<Self> {
        let text = header.to_text()?;
        to.write_all(text.as_bytes())?;
        // From now on everybody can see what it is to become.
        to.flush()?;
        let sealing = Sealing::new(to, &*header.key(master)?, hash(&text))?;
        let sealing = zstd::stream::write::Encoder::new(sealing, LEVEL)?;
        Ok(Self { sealing, end: End::default(), record: Vec::new() })
    }

    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        self.end.count(record);
        self.record.clear();
        serde_json::to_writer(&mut self.record, record)?;
        let length = u32::try_from(self.record.len()).ok().filter(|length| *length <= RECORD);
        let length = length.ok_or_else(|| io::Error::other("a record is longer than any that is read back"))?;
        self.sealing.write_all(&length.to_be_bytes())?;
        self.sealing.write_all(&self.record)
    }

    /// Writes the end, without which nobody reads it.
    pub(super) fn finish(mut self) -> io::Result<(W, End)> {
        let end = self.end;
        self.write(&Record::End(end))?;
        Ok((self.sealing.finish()?.finish()?, end))
    }
}

/// A backup that is being read.
pub(super) struct Reader<R: Read> {
    records: zstd::stream::read::Decoder<'static, BufReader<Opening<R>>>,
    seen: End,
    is_over: bool,
}

/// Reads the header, and leaves the reader behind it.
pub fn header(from: &mut impl BufRead) -> Result<Header, FileError> {
    let (magic, text) = (line(from)?, line(from)?);
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    if magic != MAGIC {
        return Err(FileError::NoBackup);
    }
    let Version { version } = serde_json::from_str(&text).map_err(|_| FileError::NoBackup)?;
    if version != u64::from(VERSION) {
        return Err(FileError::Newer(version));
    }
    let header: Header =
        serde_json::from_str(&text).map_err(|_| FileError::Damaged("its header can't be read".into()))?;
    // One spelling of each header: what is hashed is what was read.
    match header.to_text() {
        Ok(again) if again == format!("{magic}\n{text}\n") => Ok(header),
        _ => Err(FileError::Damaged("its header can't be read".into())),
    }
}

/// A line of a header, of which nothing is known yet.
fn line(from: &mut impl BufRead) -> Result<String, FileError> {
    let mut line = Vec::new();
    from.take(HEADER).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(FileError::NoBackup);
    }
    String::from_utf8(line).map_err(|_| FileError::NoBackup)
}

impl<R: Read> Reader<R> {
    /// Behind the header.
    pub(super) fn new(from: R, header: &Header, master: &MasterKey) -> Result<Self, FileError> {
        if header.master_key != master.id() {
            return Err(FileError::MasterKey { sealed: header.master_key.clone(), given: master.id() });
        }
        let opening = Opening::new(from, &*header.key(master)?, hash(&header.to_text()?))?;
        let mut records = zstd::stream::read::Decoder::new(opening)?;
        records.window_log_max(WINDOW)?;
        Ok(Self { records, seen: End::default(), is_over: false })
    }

    /// The next record; `None` after the end, which was there.
    pub(super) fn next(&mut self) -> Result<Option<Record>, FileError> {
        if self.is_over {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.records.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > RECORD {
            return Err(FileError::Damaged("a record is too long".into()));
        }
        let mut text = Vec::new();
        (&mut self.records).take(u64::from(length)).read_to_end(&mut text)?;
        let record = serde_json::from_slice(&text);
        let record = record.map_err(|error| FileError::Damaged(format!("a record can't be read: {error}")))?;
        if let Record::End(end) = record {
            if end != self.seen {
                return Err(FileError::Damaged("it does not have as many records as it says".into()));
            }
            // The seal ends here as well.
            if self.records.read(&mut [0])? != 0 {
                return Err(FileError::Damaged("something follows upon its end".into()));
            }
            self.is_over = true;
            return Ok(None);
        }
        self.seen.count(&record);
        Ok(Some(record))
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, byte) in hash.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()) {
        *to = *byte;
    }
    hash
}

/// Reads whatever it is as a backup. It must end, and take no more memory than a record does.
#[cfg(any(feature = "fuzzing", test))]
pub fn fuzz(data: &[u8]) {
    let key = || MasterKey::parse(&"A".repeat(43));
    let Ok(master) = key() else { return };
    let mut from = data;
    if let Ok(header) = header(&mut from)
        && let Ok(mut reader) = Reader::new(from, &header, &master)
    {
        while let Ok(Some(_)) = reader.next() {}
    }
    // And what whoever has the key can put below the seal.
    let Ok(header) = Header::new("dataset", "issuer", DateTime::UNIX_EPOCH, &master) else { return };
    let sealed = header.to_text().and_then(|text| {
        let mut sealing = Sealing::new(Vec::new(), &*header.key(&master)?, hash(&text))?;
        sealing.write_all(data)?;
        sealing.finish()
    });
    if let Ok(sealed) = sealed
        && let Ok(mut reader) = Reader::new(sealed.as_slice(), &header, &master)
    {
        while let Ok(Some(_)) = reader.next() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountId;
    use crate::authority::backup::record::StoredRecord;

    fn master() -> MasterKey {
        MasterKey::parse(&"A".repeat(43)).unwrap()
    }

    fn account(number: u64) -> Record {
        let state = format!("1-{number} {{}}");
        Record::Account(StoredRecord { id: AccountId::nobody(), state, profile: Some("{}".into()) })
    }

    fn written(records: &[Record]) -> Vec<u8> {
        let header = Header::new("d", "https://issuer", DateTime::UNIX_EPOCH, &master()).unwrap();
        let mut writer = Writer::new(Vec::new(), &header, &master()).unwrap();
        records.iter().for_each(|record| writer.write(record).unwrap());
        writer.finish().unwrap().0
    }

    fn read(mut bytes: &[u8], master: &MasterKey) -> Result<Vec<Record>, FileError> {
        let header = header(&mut bytes)?;
        let mut reader = Reader::new(bytes, &header, master)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        assert!(reader.next()?.is_none());
        Ok(records)
    }

    fn damage(bytes: &[u8]) -> String {
        read(bytes, &master()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_only_under_its_master_key() {
        let records: Vec<Record> = (0..10_000).map(account).collect();
        let file = written(&records);
        assert_eq!(read(&file, &master()).unwrap(), records);
        assert!(read(&written(&[]), &master()).unwrap().is_empty());
        let other = MasterKey::generate().unwrap();
        let refused = read(&file, &other).unwrap_err().to_string();
        assert!(refused.contains(&master().id()) && refused.contains(&other.id()), "{refused}");
        // Two of the same are sealed under two keys.
        assert_ne!(file, written(&records));
    }

    #[test]
    fn each_byte_that_is_changed_is_found_and_so_is_each_length() {
        let file = written(&[account(1), account(2)]);
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            assert!(read(&changed, &master()).is_err(), "byte {place}");
            assert!(read(&file[..place], &master()).is_err(), "cut at {place}");
        }
        assert!(damage(&[file.as_slice(), b"\n"].concat()).contains("follows upon its end"));
        assert!(damage(&file[..file.len() - 1]).contains("cut off"));
    }

    #[test]
    fn a_header_of_another_file_or_version_is_refused() {
        let (one, other) = (written(&[account(1)]), written(&[account(1)]));
        let body = |file: &[u8]| {
            let mut rest = file;
            header(&mut rest).unwrap();
            rest.to_vec()
        };
        let head = |file: &[u8]| file[..file.len() - body(file).len()].to_vec();
        assert!(damage(&[head(&one), body(&other)].concat()).contains("piece 0"));
        let text = String::from_utf8(head(&one)).unwrap();
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(damage(&[newer.as_bytes(), &body(&one)].concat()).contains("version 2"));
        for other in ["", "x", "countermark backup\n", "countermark backup\n{}\n", "another\n{\"version\":1}\n"] {
            assert!(damage(other.as_bytes()).contains("no backup"), "{other:?}");
        }
        assert!(damage(text.replace("{\"version\"", "{ \"version\"").as_bytes()).contains("header"));
        let spoken = text.replace("https://issuer", "https://another");
        assert!(damage(&[spoken.as_bytes(), &body(&one)].concat()).contains("piece 0"));
    }

    #[test]
    fn what_the_seal_holds_is_read_strictly_all_the_same() {
        let below = |bytes: &[u8]| {
            let header = Header::new("d", "i", DateTime::UNIX_EPOCH, &master()).unwrap();
            let text = header.to_text().unwrap();
            let sealing = Sealing::new(Vec::new(), &header.key(&master()).unwrap(), hash(&text)).unwrap();
            let mut encoder = zstd::stream::write::Encoder::new(sealing, 1).unwrap();
            encoder.write_all(bytes).unwrap();
            let sealed = encoder.finish().unwrap().finish().unwrap();
            damage(&[text.into_bytes(), sealed].concat())
        };
        let framed = |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
        assert!(below(&u32::MAX.to_be_bytes()).contains("too long"));
        assert!(below(&framed("{}")).contains("can't be read"));
        assert!(below(&framed("{\"later_kind\":{}}")).contains("can't be read"));
        let end = |accounts: u64| {
            format!("{{\"end\":{{\"accounts\":{accounts},\"later\":0,\"blocks\":0,\"acts\":0,\"checkpoints\":0}}}}")
        };
        assert!(below(&framed(&end(1))).contains("as many records"));
        assert!(below(&[framed(&end(0)), framed(&end(0))].concat()).contains("follows upon its end"));
        assert!(below(b"").contains("damaged"));
        fuzz(&written(&[account(1)]));
        fuzz(b"");
    }
}

//! Where an export is written to: files that are there when they are whole, or standard output.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Stdout, Write};
use std::path::{Path, PathBuf};

use super::super::answer::{Failure, unwritten};
use super::compression::{Compressed, Compression};
use crate::audit::proof::RECORD;
use crate::durable;

/// Events tell who did what, from where.
const MODE: u32 = 0o600;

/// What proves the events of a file lies beside it: `audit.jsonl.proof` of `audit.jsonl`, `audit.jsonl.proof.gz` of `audit.jsonl.gz`.
pub fn proof_of(events: &Path) -> PathBuf {
    named(events, Compression::of_name(events))
}

/// The same, where one of the two was compressed or decompressed afterwards.
pub fn proof_that_is_there(events: &Path) -> Option<PathBuf> {
    let names = [Compression::of_name(events), None, Some(Compression::Gzip), Some(Compression::Zstd)];
    names.into_iter().map(|compression| named(events, compression)).find(|proof| proof.exists())
}

fn named(events: &Path, compression: Option<Compression>) -> PathBuf {
    let plain = match Compression::of_name(events) {
        Some(_) => events.with_extension(""),
        None => events.to_owned(),
    };
    let mut name = OsString::from(plain);
    name.push(".proof");
    if let Some(compression) = compression {
        name.push(".");
        name.push(compression.suffix());
    }
    name.into()
}

/// A file that gets its name when it is whole.
struct NewFile {
    to: Compressed<File>,
    beside: PathBuf,
    path: PathBuf,
}

/// See the module.
pub struct Files {
    to: To,
    count: u64,
}

enum To {
    /// Events, and what proves them.
    Two(Box<[NewFile; 2]>),
    /// Whatever comes, in order.
    One(Box<NewFile>),
    Printed(Box<Compressed<Stdout>>),
}

impl Files {
    /// New files. `with_proof`: records go into one of their own, instead of into the same.
    pub fn create(out: &Path, compression: Option<Compression>, with_proof: bool) -> Result<Self, Failure> {
        let events = NewFile::create(out, compression)?;
        let to = if with_proof {
            match NewFile::create(&proof_of(out), compression) {
                Ok(proof) => To::Two(Box::new([events, proof])),
                Err(failure) => {
                    events.discard();
                    return Err(failure);
                }
            }
        } else {
            To::One(Box::new(events))
        };
        Ok(Self { to, count: 0 })
    }

    /// Standard output.
    pub fn printed(compression: Option<Compression>) -> Result<Self, Failure> {
        let to = Compressed::new(io::stdout(), compression).map_err(unwritten)?;
        Ok(Self { to: To::Printed(Box::new(to)), count: 0 })
    }

    /// Takes a line.
    pub fn take(&mut self, line: &str) -> Result<(), Failure> {
        let is_record = line.starts_with(RECORD);
        self.count += u64::from(!is_record);
        match &mut self.to {
            To::Two(files) => {
                let [events, proof] = &mut **files;
                if is_record { proof.take(line) } else { events.take(line) }
            }
            To::One(file) => file.take(line),
            To::Printed(to) => write_line(to, line).map_err(unwritten),
        }
    }

    /// All of it was taken: how many events there are. The events get their name last: whoever finds them finds the proof.
    pub fn finish(self) -> Result<u64, Failure> {
        match self.to {
            To::Two(files) => {
                let [events, proof] = *files;
                proof.finish()?;
                events.finish()?;
            }
            To::One(file) => file.finish()?,
            To::Printed(to) => {
                let mut stdout = to.finish().map_err(unwritten)?;
                stdout.flush().map_err(unwritten)?;
            }
        }
        Ok(self.count)
    }

    /// It did not become whole: no file is left.
    pub fn discard(self) {
        match self.to {
            To::Two(files) => files.into_iter().for_each(NewFile::discard),
            To::One(file) => file.discard(),
            To::Printed(_) => {}
        }
    }
}

impl NewFile {
    fn create(path: &Path, compression: Option<Compression>) -> Result<Self, Failure> {
        let failed = |error: io::Error| unwritable(path, &error).next("name another file with --out");
        if path.exists() {
            return Err(Failure::new(format!("{} exists", path.display())).next("name a new file with --out"));
        }
        let beside = durable::beside(path).map_err(failed)?;
        let file = durable::create_new(&beside, MODE).map_err(failed)?;
        let to = Compressed::new(file, compression).map_err(failed)?;
        Ok(Self { to, beside, path: path.to_owned() })
    }

    fn take(&mut self, line: &str) -> Result<(), Failure> {
        write_line(&mut self.to, line).map_err(|error| unwritable(&self.path, &error))
    }

    fn finish(self) -> Result<(), Failure> {
        let Self { to, beside, path } = self;
        let synced = to.finish().and_then(|file| file.sync_all());
        let named = synced.and_then(|()| durable::rename(&beside, &path));
        named.map_err(|error| {
            let _ = std::fs::remove_file(&beside);
            unwritable(&path, &error)
        })
    }

    fn discard(self) {
        // What failed is told; a file that can't be removed either changes nothing about that.
        let _ = std::fs::remove_file(self.beside);
    }
}

fn write_line(to: &mut impl Write, line: &str) -> io::Result<()> {
    to.write_all(line.as_bytes()).and_then(|()| to.write_all(b"\n"))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_of_a_compressed_file_is_called_like_one() {
        let of = |name: &str| proof_of(Path::new(name)).display().to_string();
        assert_eq!(of("a/audit.jsonl"), "a/audit.jsonl.proof");
        assert_eq!(of("a/audit.jsonl.gz"), "a/audit.jsonl.proof.gz");
        assert_eq!(of("audit.zst"), "audit.proof.zst");
    }

    #[test]
    fn the_proof_is_found_also_when_only_one_of_the_two_was_decompressed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(proof_that_is_there(&at("a.jsonl")), None);
        std::fs::write(at("a.jsonl.proof.zst"), "").unwrap();
        for events in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
            assert_eq!(proof_that_is_there(&at(events)), Some(at("a.jsonl.proof.zst")), "{events}");
        }
    }

    #[test]
    fn nothing_has_its_name_before_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("a.jsonl.gz");
        let there = || std::fs::read_dir(directory.path()).unwrap().count();
        let mut files = Files::create(&out, Some(Compression::Gzip), true).unwrap();
        files.take("{\"record\":1}").unwrap();
        files.take("{}").unwrap();
        assert!(there() == 2 && !out.exists() && !proof_of(&out).exists());
        files.discard();
        assert_eq!(there(), 0);
        let mut files = Files::create(&out, Some(Compression::Gzip), true).unwrap();
        files.take("{}").unwrap();
        assert_eq!(files.finish().unwrap(), 1);
        assert!(there() == 2 && out.exists() && proof_of(&out).exists());
        // One that exists is never written over, and leaves nothing of the other.
        std::fs::remove_file(&out).unwrap();
        assert!(Files::create(&out, None, true).is_err());
        assert_eq!(there(), 1);
    }
}

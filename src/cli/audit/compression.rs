//! Files that are compressed: as gzip (RFC 1952) or Zstandard (RFC 8878), in a stream both ways.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Both read and write so much at once.
const BUFFER: usize = 1 << 20;
/// As binary logarithm, the most memory that a Zstandard file may make a reader take: what `zstd -d` allows without being asked, so that
/// whatever `zstd` wrote without `--long` is read.
const LARGEST_WINDOW: u32 = 27;

/// A compressed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// RFC 1952: every system reads it.
    Gzip,
    /// RFC 8878: smaller, and several times as fast.
    Zstd,
}

impl Compression {
    /// How names of such files end.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// What the name of a file says.
    pub fn of_name(path: &Path) -> Option<Self> {
        let suffix = path.extension().and_then(OsStr::to_str)?;
        [Self::Gzip, Self::Zstd].into_iter().find(|compression| compression.suffix() == suffix)
    }
}

/// What is written into is compressed, or not.
pub enum Compressed<W: Write> {
    /// As it comes.
    Not(BufWriter<W>),
    /// See [`Compression::Gzip`].
    Gzip(Box<GzEncoder<BufWriter<W>>>),
    /// See [`Compression::Zstd`].
    Zstd(zstd::Encoder<'static, BufWriter<W>>),
}

impl<W: Write> Compressed<W> {
    /// Begins.
    pub fn new(to: W, compression: Option<Compression>) -> io::Result<Self> {
        let to = BufWriter::with_capacity(BUFFER, to);
        Ok(match compression {
            None => Self::Not(to),
            Some(Compression::Gzip) => Self::Gzip(Box::new(GzEncoder::new(to, flate2::Compression::default()))),
            Some(Compression::Zstd) => {
                let mut encoder = zstd::Encoder::new(to, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Ends, and gives back what was written into.
    pub fn finish(self) -> io::Result<W> {
        let to = match self {
            Self::Not(to) => to,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        to.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl<W: Write> Write for Compressed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Not(to) => to.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Not(to) => to.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Reads a file as the text that it was, whatever it is called: what it begins with says whether it is compressed. Several of them in a
/// row are one, as for `zcat` and `zstdcat`.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    Ok(match file.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(file)?;
            decoder.window_log_max(LARGEST_WINDOW)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        _ => Box::new(file),
    })
}

/// Whether the file itself can't be read, as opposed to what is in it.
pub fn is_of_the_system(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_compressed_reads_back_and_its_name_does_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let text = "0123456789abcdef\n".repeat(200_000);
        for compression in [None, Some(Compression::Gzip), Some(Compression::Zstd)] {
            let mut bytes = Vec::new();
            for _ in 0..2 {
                let mut to = Compressed::new(Vec::new(), compression).unwrap();
                to.write_all(text.as_bytes()).unwrap();
                bytes.extend(to.finish().unwrap());
            }
            assert!(compression.is_none() || bytes.len() < text.len() / 10, "{compression:?}: {}", bytes.len());
            std::fs::write(&path, &bytes).unwrap();
            let read = |path: &Path| {
                let mut read = String::new();
                open(path)?.read_to_string(&mut read).map(|_| read)
            };
            assert!(read(&path).unwrap() == text.repeat(2), "{compression:?}");
            // An end that is missing is no end.
            std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            let cut = read(&path);
            match compression {
                None => assert_eq!(cut.unwrap().len(), bytes.len() - 1),
                Some(_) => assert!(!is_of_the_system(&cut.unwrap_err())),
            }
        }
        assert!(is_of_the_system(&open(&directory.path().join("none")).err().unwrap()));
    }

    #[test]
    fn a_window_larger_than_anybody_needs_is_not_allocated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.zst");
        // RFC 8878, 3.1.1.1.2: a frame whose window is 2^(10 + 21) bytes, and a last block of one byte 2^21 times.
        std::fs::write(&path, [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x03, 0x00, 0x00, b'x']).unwrap();
        let refused = open(&path).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(refused.to_string().to_lowercase().contains("memory"), "{refused}");
    }

    #[test]
    fn a_name_may_say_it() {
        let of = |name: &str| Compression::of_name(Path::new(name));
        assert_eq!(of("a.jsonl.gz"), Some(Compression::Gzip));
        assert_eq!(of("/x.y/a.zst"), Some(Compression::Zstd));
        assert_eq!((of("a.jsonl"), of("gz"), of(".gz")), (None, None, None));
    }
}

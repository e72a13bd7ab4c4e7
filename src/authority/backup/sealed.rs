//! A stream of bytes in sealed pieces: one that was changed, moved, left out, added or cut off is found (the STREAM construction of
//! Hoang, Reyhanitabar, Rogaway and Vizár, 2015).
//!
//! A piece is one byte, 1 for the last of all and 0 for the others; its length as 32 bits, the first byte the highest; and its
//! AES-256-GCM, whose nonce is the number of the piece and that first byte, and whose associated data is what the stream belongs to.
//! No key seals two streams: the caller derives one for each.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of a piece before it is sealed.
const PIECE: usize = 64 * 1024;
const TAG: usize = 16;

/// Why a stream can't be read on. Nothing of a piece is told before it is known to be genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("it was cut off, or is not written to its end")]
    CutOff,
    #[error("its piece {0} was changed, or is none of its own")]
    Changed(u64),
    #[error("something follows upon its end")]
    TooLong,
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken)
    }
}

/// The key of one stream, and the number of its next piece.
struct Pieces {
    key: LessSafeKey,
    belongs_to: [u8; 32],
    next: u64,
}

impl Pieces {
    fn new(key: &[u8; 32], belongs_to: [u8; 32]) -> io::Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(io::Error::other)?;
        Ok(Self { key: LessSafeKey::new(key), belongs_to, next: 0 })
    }

    fn nonce(&self, is_last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        let number = self.next.to_be_bytes();
        for (byte, number) in nonce.iter_mut().zip(number) {
            *byte = number;
        }
        if let Some(last) = nonce.last_mut() {
            *last = u8::from(is_last);
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals what is written to it. Without [`finish`](Self::finish) it has no end.
pub(super) struct Sealing<W> {
    to: W,
    pieces: Pieces,
    waiting: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealing<W> {
    pub(super) fn new(to: W, key: &[u8; 32], belongs_to: [u8; 32]) -> io::Result<Self> {
        let waiting = Zeroizing::new(Vec::with_capacity(PIECE + TAG));
        Ok(Self { to, pieces: Pieces::new(key, belongs_to)?, waiting })
    }

    fn piece(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = self.pieces.nonce(is_last);
        let belongs_to = Aad::from(self.pieces.belongs_to);
        self.pieces
            .key
            .seal_in_place_append_tag(nonce, belongs_to, &mut *self.waiting)
            .map_err(|_| io::Error::other("it can't be sealed"))?;
        let length = u32::try_from(self.waiting.len()).map_err(io::Error::other)?;
        self.to.write_all(&[u8::from(is_last)])?;
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(&self.waiting)?;
        self.waiting.clear();
        self.pieces.next += 1;
        Ok(())
    }

    /// Writes the last piece.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.piece(true)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full piece waits: it may be the last one.
        if self.waiting.len() == PIECE {
            self.piece(false)?;
        }
        let some = bytes.get(..PIECE - self.waiting.len()).unwrap_or(bytes);
        self.waiting.extend_from_slice(some);
        Ok(some.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what was sealed. It ends only where the stream does.
pub(super) struct Opening<R> {
    from: R,
    pieces: Pieces,
    /// What was opened, and how much of that was read.
    opened: Zeroizing<Vec<u8>>,
    read: usize,
    is_over: bool,
}

impl<R: Read> Opening<R> {
    pub(super) fn new(from: R, key: &[u8; 32], belongs_to: [u8; 32]) -> io::Result<Self> {
        let opened = Zeroizing::new(Vec::with_capacity(PIECE + TAG));
        Ok(Self { from, pieces: Pieces::new(key, belongs_to)?, opened, read: 0, is_over: false })
    }

    fn piece(&mut self) -> io::Result<()> {
        let number = self.pieces.next;
        let mut head = [0; 5];
        self.from.read_exact(&mut head).map_err(cut_off)?;
        let [last, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if last > 1 || !(TAG..=PIECE + TAG).contains(&length) {
            return Err(Broken::Changed(number).into());
        }
        self.opened.resize(length, 0);
        self.from.read_exact(&mut self.opened).map_err(cut_off)?;
        let (nonce, belongs_to) = (self.pieces.nonce(last == 1), Aad::from(self.pieces.belongs_to));
        let opened = self.pieces.key.open_in_place(nonce, belongs_to, &mut self.opened);
        let length = opened.map_err(|_| Broken::Changed(number))?.len();
        self.opened.truncate(length);
        (self.read, self.pieces.next, self.is_over) = (0, number + 1, last == 1);
        if self.is_over && self.from.read(&mut [0])? != 0 {
            return Err(Broken::TooLong.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.read == self.opened.len() && !self.is_over {
            self.piece()?;
        }
        let rest = self.opened.get(self.read..).unwrap_or_default();
        let length = rest.len().min(to.len());
        for (to, byte) in to.iter_mut().zip(rest) {
            *to = *byte;
        }
        self.read += length;
        Ok(length)
    }
}

fn cut_off(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { Broken::CutOff.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const OURS: [u8; 32] = [1; 32];

    fn sealed(bytes: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::new(Vec::new(), &KEY, OURS).unwrap();
        sealing.write_all(bytes).unwrap();
        sealing.finish().unwrap()
    }

    fn opened(bytes: &[u8], belongs_to: [u8; 32]) -> Result<Vec<u8>, Broken> {
        let mut all = Vec::new();
        match Opening::new(bytes, &KEY, belongs_to).unwrap().read_to_end(&mut all) {
            Ok(_) => Ok(all),
            Err(error) => Err(*error.get_ref().unwrap().downcast_ref::<Broken>().unwrap()),
        }
    }

    /// The pieces of a stream, each with its head.
    fn pieces(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let length = 5 + u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            pieces.push(bytes[..length].to_vec());
            bytes = &bytes[length..];
        }
        pieces
    }

    #[test]
    fn what_was_sealed_is_opened_whatever_its_length() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5] {
            let bytes: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            let sealed = sealed(&bytes);
            assert_eq!(opened(&sealed, OURS).as_ref(), Ok(&bytes), "{length}");
            assert_eq!(pieces(&sealed).len(), length.div_ceil(PIECE).max(1), "{length}");
        }
    }

    #[test]
    fn each_bit_that_is_flipped_is_found() {
        let whole = sealed(b"a few bytes");
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(opened(&changed, OURS).is_err(), "{place}");
        }
    }

    #[test]
    fn what_is_cut_off_moved_left_out_repeated_added_or_of_another_stream_is_found() {
        let bytes: Vec<u8> = (0..3 * PIECE + 9).map(|place| (place % 249) as u8).collect();
        let whole = sealed(&bytes);
        for length in [0, 1, 4, 5, 6, PIECE, whole.len() - 1] {
            assert_eq!(opened(&whole[..length], OURS), Err(Broken::CutOff), "{length}");
        }
        let all = pieces(&whole);
        let [one, two, three, last] = &all[..] else { panic!("{} pieces", all.len()) };
        assert_eq!(opened(&[one.clone(), two.clone(), three.clone()].concat(), OURS), Err(Broken::CutOff));
        let moved = |pieces: &[&Vec<u8>]| pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>();
        for (wrong, at) in
            [(moved(&[two, one, three, last]), 0), (moved(&[one, three, last]), 1), (moved(&[one, one]), 1)]
        {
            assert_eq!(opened(&wrong, OURS), Err(Broken::Changed(at)));
        }
        // One that says of itself that it is the last.
        let mut early = three.clone();
        early[0] = 1;
        assert_eq!(opened(&moved(&[one, two, &early]), OURS), Err(Broken::Changed(2)));
        assert_eq!(opened(&[whole.as_slice(), b"x"].concat(), OURS), Err(Broken::TooLong));
        assert_eq!(opened(&[whole.as_slice(), &whole].concat(), OURS), Err(Broken::TooLong));
        assert_eq!(opened(&whole, [2; 32]), Err(Broken::Changed(0)));
    }
}

//! The frame of a PEM (RFC 7468, read as its section 3 allows: text around and blanks at the ends of lines are passed over).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::ImportError;

/// The largest key that is taken has a twentieth of it.
pub(super) const MAX_LENGTH: usize = 64 * 1024;

/// What the first line of a private key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Pkcs8,
    Encrypted,
    Sec1,
    Pkcs1,
}

struct Block<'a> {
    label: &'a str,
    lines: Vec<&'a str>,
}

/// The private key in it and what it says to be. Public things beside it (`EC PARAMETERS`, certificates) are not looked at.
pub(super) fn the_private_key(text: &str) -> Result<(Label, Zeroizing<Vec<u8>>), ImportError> {
    if text.len() > MAX_LENGTH {
        return Err(ImportError::TooLong);
    }
    let blocks = blocks(text)?;
    let mut private = blocks.iter().filter(|block| block.label.contains("PRIVATE KEY"));
    let Some(block) = private.next() else {
        return Err(none_in(&blocks));
    };
    if private.next().is_some() {
        return Err(ImportError::Several);
    }
    // RFC 1421, section 4.6.1.1, as OpenSSL wrote it before PKCS#8: the key is the MD5 of the passphrase.
    if block.lines.iter().any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED")) {
        return Err(ImportError::UnreadEncryption { with: "OpenSSL's old PEM encryption" });
    }
    Ok((known(block.label)?, decoded(&block.lines)?))
}

fn blocks(text: &str) -> Result<Vec<Block<'_>>, ImportError> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in text.lines().map(|line| line.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}')) {
        let begun = boundary(line, "-----BEGIN ");
        match (&mut open, begun) {
            (None, Some(label)) => open = Some(Block { label, lines: Vec::new() }),
            (None, None) => {}
            (Some(_), Some(_)) => return Err(ImportError::Damaged),
            (Some(block), None) if boundary(line, "-----END ") == Some(block.label) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line),
        }
    }
    if open.is_some() || (blocks.is_empty() && text.contains("-----BEGIN ")) {
        return Err(ImportError::Damaged);
    }
    Ok(blocks)
}

fn boundary<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix("-----")
}

fn none_in(blocks: &[Block<'_>]) -> ImportError {
    let holds = |what: &str| blocks.iter().any(|block| block.label.contains(what));
    let found = match () {
        () if holds("CERTIFICATE REQUEST") => "a request for a certificate",
        () if holds("CERTIFICATE") => "a certificate",
        () if holds("PUBLIC KEY") => "a public key",
        () if holds("EC PARAMETERS") => "the parameters of a curve",
        () if blocks.is_empty() => return ImportError::NotPem,
        () => "something else",
    };
    ImportError::NotPrivate { found }
}

fn known(label: &str) -> Result<Label, ImportError> {
    Ok(match label {
        "PRIVATE KEY" => Label::Pkcs8,
        "ENCRYPTED PRIVATE KEY" => Label::Encrypted,
        "EC PRIVATE KEY" => Label::Sec1,
        "RSA PRIVATE KEY" => Label::Pkcs1,
        "OPENSSH PRIVATE KEY" => {
            return Err(ImportError::OtherForm { of: "OpenSSH", with: "ssh-keygen -p -m PKCS8 -f COPY" });
        }
        "DSA PRIVATE KEY" => return Err(ImportError::WrongKind { found: "a DSA key" }),
        "PGP PRIVATE KEY BLOCK" => return Err(ImportError::WrongKind { found: "a PGP key" }),
        _ => return Err(ImportError::WrongKind { found: "a private key that its first line gives another name" }),
    })
}

fn decoded(lines: &[&str]) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    // As long as it will get: what a buffer grows out of is not wiped.
    let mut text = Zeroizing::new(Vec::with_capacity(lines.iter().map(|line| line.len()).sum()));
    text.extend(lines.iter().flat_map(|line| line.bytes()).filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; text.len() / 4 * 3 + 3]);
    let length = STANDARD.decode_slice(&*text, &mut der).map_err(|_| ImportError::Damaged)?;
    der.truncate(length);
    Ok(der)
}

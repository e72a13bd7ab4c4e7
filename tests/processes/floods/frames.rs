//! Frames of HTTP/2 (RFC 9113, section 4.1) and fields of HPACK (RFC 7541), written by hand: also those that no library writes.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// No window for what is answered: the setting 4 is 0.
pub const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The n-th stream of a client.
pub fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// An integer with a prefix of so many bits (RFC 7541, section 5.1), below the given first byte.
fn integer(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![first | u8::try_from(most).unwrap()];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn string(text: &str) -> Vec<u8> {
    [integer(0, 7, text.len()), text.as_bytes().to_vec()].concat()
}

/// A field that is not remembered.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// A field that the other side remembers, as number 62 until the next one.
pub fn remembered(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], string(name), string(value)].concat()
}

/// A field by its number.
pub fn indexed(number: usize) -> Vec<u8> {
    integer(0x80, 7, number)
}

/// `:method`, `:scheme`, `:path`, `:authority`
pub fn head(method: &str, path: &str) -> Vec<u8> {
    [field(":method", method), field(":scheme", "https"), field(":path", path), field(":authority", "localhost")]
        .concat()
}

/// A request without a body.
pub fn request(number: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head("GET", path))
}

/// The head of a request whose body is to come.
pub fn begun(number: u32, path: &str) -> Vec<u8> {
    let form = field("content-type", "application/x-www-form-urlencoded");
    frame(HEADERS, END_HEADERS, stream(number), &[head("POST", path), form].concat())
}

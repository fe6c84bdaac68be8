//! The map between bytes and printable characters that GPT-2 introduced and byte-level files still use: printable
//! bytes stand for themselves, the other 68, in increasing order, are U+0100, U+0101 and so on.

/// The character that a byte is written as.
pub(crate) fn char_of(byte: u8) -> char {
    let hidden = match byte {
        0..=32 => u32::from(byte),
        127..=160 => 33 + u32::from(byte - 127),
        173 => 67,
        _ => return char::from(byte),
    };
    char::from_u32(256 + hidden).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character stands for; `None` if it stands for none.
pub(crate) fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (33..=126 | 161..=172 | 174..=255) => Some(code as u8),
        code @ 256..=288 => Some((code - 256) as u8),
        code @ 289..=322 => Some((code - 289 + 127) as u8),
        323 => Some(173),
        _ => None,
    }
}

/// Bytes as a byte-level file writes them.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char_of(byte)).collect()
}

/// The bytes that `text` stands for, or its first character that stands for none.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, char> {
    text.chars().map(|c| byte_of(c).ok_or(c)).collect()
}

/// Whether every character of `text` stands for a byte.
pub(crate) fn covers(text: &str) -> bool {
    text.chars().all(|c| byte_of(c).is_some())
}

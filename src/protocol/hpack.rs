//! Header compression of HTTP/2 (RFC 7541), as far as one call needs it.
//!
//! Ours are written without compression. Those of the peer are read with the static table and
//! Huffman's code. There is no dynamic table: its size is announced to be 0, so the peer may add
//! to it, which does nothing, and must not refer to it.

/// Characters that are kept of a name; longer ones are nobody's whom we look for.
const NAME_MAX: usize = 64;

/// Bytes that are kept of a value.
const VALUE_MAX: usize = 256;

/// The only names of the static table that matter here (RFC 7541, appendix A). `:status` stands
/// there with seven values, at 8 to 14.
const STATUS: &[u8] = b":status";
const STATUS_VALUES: [&[u8]; 7] = [b"200", b"204", b"206", b"304", b"400", b"404", b"500"];
const STATUS_FIRST: u64 = 8;

/// Entries of the static table.
const STATIC_ENTRIES: u64 = 61;

/// Lengths of Huffman's code for each byte, in bits (RFC 7541, appendix B). The code is canonical:
/// the lengths say it all. The end mark has 30 bits, too, and the largest code of these.
const CODE_LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26,
];

/// Bits of the longest code.
const CODE_LENGTH_MAX: u8 = 30;

/// How many codes have each length, the end mark not counted.
const CODE_COUNTS: [u32; CODE_LENGTH_MAX as usize + 1] = count_codes();

#[allow(clippy::indexing_slicing, reason = "at build time, where it would be an error of the build")]
const fn count_codes() -> [u32; CODE_LENGTH_MAX as usize + 1] {
    let mut counts = [0; CODE_LENGTH_MAX as usize + 1];
    let mut byte = 0;
    while byte < CODE_LENGTHS.len() {
        counts[CODE_LENGTHS[byte] as usize] += 1;
        byte += 1;
    }
    counts
}

/// What is wrong with a block of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Calls `each` with name and value of every header that may matter: names and values are cut to
/// what a call looks for, and those of the static table that it does not are passed over.
///
/// # Errors
/// [`Malformed`]: the block breaks off, or refers to what is not there.
pub fn decode(mut block: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Malformed> {
    while let Some(&first) = block.first() {
        let indexed = first & 0x80 != 0;
        let resizes = first & 0xe0 == 0x20;
        let prefix_bits = match first {
            0x80.. => 7,
            0x40..=0x7f => 6,
            0x20..=0x3f => 5,
            0..=0x1f => 4,
        };
        let index = take_integer(&mut block, prefix_bits)?;
        if resizes {
            continue;
        }
        if index > STATIC_ENTRIES || (indexed && index == 0) {
            return Err(Malformed);
        }
        let of_status = index.checked_sub(STATUS_FIRST).and_then(|at| usize::try_from(at).ok());
        let of_status = of_status.and_then(|at| STATUS_VALUES.get(at));
        if indexed {
            if let Some(value) = of_status {
                each(STATUS, value);
            }
            continue;
        }
        let name = match index {
            0 => Some(take_string(&mut block, NAME_MAX)?),
            _ => of_status.map(|_| STATUS.to_vec()),
        };
        let value = take_string(&mut block, VALUE_MAX)?;
        if let Some(name) = name {
            each(&name, &value);
        }
    }
    Ok(())
}

/// An integer whose first bits share a byte with something else (section 5.1).
fn take_integer(block: &mut &[u8], prefix_bits: u32) -> Result<u64, Malformed> {
    let (&first, mut rest) = block.split_first().ok_or(Malformed)?;
    let most = (1_u64 << prefix_bits) - 1;
    let mut number = u64::from(first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (&byte, behind) = rest.split_first().ok_or(Malformed)?;
            rest = behind;
            // Four bytes more than cover every length that a frame can have.
            if shift > 21 {
                return Err(Malformed);
            }
            number += u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(number)
}

/// A text (section 5.2), of which the first `most` bytes are kept.
fn take_string(block: &mut &[u8], most: usize) -> Result<Vec<u8>, Malformed> {
    let coded = block.first().ok_or(Malformed)? & 0x80 != 0;
    let length = usize::try_from(take_integer(block, 7)?).map_err(|_| Malformed)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    if coded { decode_huffman(bytes, most) } else { Ok(bytes.iter().take(most).copied().collect()) }
}

fn decode_huffman(bytes: &[u8], most: usize) -> Result<Vec<u8>, Malformed> {
    let mut text = Vec::new();
    // The code so far, the smallest code of its length, and the length.
    let (mut code, mut smallest, mut length) = (0_u32, 0_u32, 0_u8);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        if text.len() == most {
            return Ok(text);
        }
        let shorter = CODE_COUNTS.get(usize::from(length)).copied().unwrap_or(0);
        smallest = (smallest + shorter) << 1;
        code = code << 1 | bit;
        length += 1;
        let count = CODE_COUNTS.get(usize::from(length)).copied().unwrap_or(0);
        if let Some(position) = code.checked_sub(smallest).filter(|position| *position < count) {
            let of_length = (0..=u8::MAX).zip(CODE_LENGTHS).filter(|(_, other)| *other == length);
            let position = usize::try_from(position).unwrap_or(usize::MAX);
            text.extend(of_length.map(|(byte, _)| byte).nth(position));
            (code, smallest, length) = (0, 0, 0);
        } else if length == CODE_LENGTH_MAX {
            // The end mark, which must not be sent.
            return Err(Malformed);
        }
    }
    // What is left are the first bits of the end mark, to fill the last byte.
    let padding = length < 8 && code == (1 << length) - 1;
    if padding { Ok(text) } else { Err(Malformed) }
}

/// Adds a header in the form that needs no table.
pub fn encode(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        encode_length(block, text.len());
        block.extend_from_slice(text.as_bytes());
    }
}

fn encode_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(length.to_le_bytes()[0]);
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128).to_le_bytes()[0] | 0x80);
        rest /= 128;
    }
    block.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        decode(block, |name, value| found.push((text(name), text(value))))?;
        Ok(found)
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        // RFC 7541, C.2.1 and C.2.2: a literal with and without adding to the table.
        let block = hex("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
        assert_eq!(read(&block), Ok(pairs(&[("custom-key", "custom-header")])));
        // C.6.1: `:status: 302` and more, coded by Huffman; the others' names are of the table.
        let block = hex(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 \
             63c7 8f0b 97c8 e9ae 82ae 43d3",
        );
        assert_eq!(read(&block), Ok(pairs(&[(":status", "302")])));
        // C.4.3: custom-key and custom-value, coded by Huffman.
        let block = hex("4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
        assert_eq!(read(&block), Ok(pairs(&[("custom-key", "custom-value")])));
        // C.5 and C.1: an entry of the table; its new size; a long integer.
        assert_eq!(read(&hex("88 20 8d 3fe1 1f")), Ok(pairs(&[(":status", "200"), (":status", "404")])));
    }

    #[test]
    fn every_byte_has_its_code() {
        // The codes, made from their lengths as RFC 7541 has them, coming back as what they code.
        let mut next = 0_u64;
        for length in 1..=CODE_LENGTH_MAX {
            for byte in (0..=u8::MAX).filter(|&byte| CODE_LENGTHS[usize::from(byte)] == length) {
                let filled = (next << 34 | ((1 << 34) - 1)) << (30 - length);
                let bytes = filled.to_be_bytes();
                let coded = &bytes[..usize::from(length).div_ceil(8)];
                assert_eq!(decode_huffman(coded, 1), Ok(vec![byte]), "{byte}");
                next += 1;
            }
            next <<= 1;
        }
        assert_eq!(next, ((1 << 30) - 1) << 1, "the end mark is the last code");
    }

    #[test]
    fn what_is_written_can_be_read() {
        for length in [0, 1, 63, 126, 127, 128, 254, 255, 256] {
            let value = "v".repeat(length);
            let mut block = Vec::new();
            encode(&mut block, "a-name", &value);
            encode(&mut block, ":status", "1");
            assert_eq!(read(&block), Ok(pairs(&[("a-name", &value), (":status", "1")])));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for block in [
            "80",
            "be",
            "bf",
            "7f",
            "0003 6162",
            "00ff ffff ffff ffff",
            "3fff ffff ffff ff",
            "40",
            "0081 00 00",
        ] {
            assert_eq!(read(&hex(block)), Err(Malformed), "{block}");
        }
    }
}

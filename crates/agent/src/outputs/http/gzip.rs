//! Gzip (RFC 1952) of a text of which the beginning is the same in many answers: that is compressed once, and each answer
//! adds its end. Both are one member, for not every reader goes on after the first.

use axum::body::Bytes;
use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::{self, Write as _};
use std::mem::take;

/// Deflate, no name, no time, fast, of an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff];

/// The beginning of a text, compressed.
#[derive(Clone)]
pub(super) struct Beginning {
    bytes: Bytes,
    sum: Hasher,
    length: u32,
}

impl Beginning {
    pub(super) fn of(text: &[u8]) -> io::Result<Self> {
        let mut deflate = DeflateEncoder::new(HEADER.to_vec(), Compression::fast());
        deflate.write_all(text)?;
        // Up to a whole byte, without the mark of the last block.
        deflate.flush()?;
        let bytes = take(deflate.get_mut()).into();
        let mut sum = Hasher::new();
        sum.update(text);
        Ok(Self { bytes, sum, length: text.len() as u32 })
    }

    /// The compressed beginning, and what makes it whole.
    pub(super) fn end(&self, end: &[u8]) -> io::Result<[Bytes; 2]> {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(end)?;
        let mut rest = deflate.finish()?;
        let mut sum = self.sum.clone();
        sum.update(end);
        rest.extend(sum.finalize().to_le_bytes());
        // Modulo 2^32 by the format.
        rest.extend(self.length.wrapping_add(end.len() as u32).to_le_bytes());
        Ok([self.bytes.clone(), rest.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    #[test]
    fn one_member_holds_the_beginning_and_each_end() {
        let long = (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        for beginning in ["", "a", &long] {
            let compressed = Beginning::of(beginning.as_bytes()).unwrap();
            for end in ["", "the end\n", &long] {
                let bytes = compressed.end(end.as_bytes()).unwrap().concat();
                let mut text = String::new();
                // This reader stops after the first member, and checks its sum and length.
                let mut reader = GzDecoder::new(&bytes[..]);
                reader.read_to_string(&mut text).unwrap();
                assert_eq!(text, format!("{beginning}{end}"));
                assert!(reader.into_inner().is_empty());
            }
        }
    }
}

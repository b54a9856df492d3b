//! As much of the ELF format as it takes to find the names of a library's dynamic symbols.

use std::io;
use std::ops::Range;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const STRTAB: u64 = 5;
const STRSZ: u64 = 10;

/// A segment.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Where the table of names lies in the file.
pub(super) fn dynamic_strings(image: &[u8]) -> io::Result<Range<usize>> {
    find(image).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "not a 64-bit little-endian ELF library with dynamic symbols",
        )
    })
}

/// Where a name begins in a table: it stands there as a whole, between two NULs.
pub(super) fn position(names: &[u8], name: &str) -> Option<usize> {
    let whole = [b"\0", name.as_bytes(), b"\0"].concat();
    names.windows(whole.len()).position(|window| window == whole).map(|before| before + 1)
}

fn find(image: &[u8]) -> Option<Range<usize>> {
    // Class and byte order follow the magic number.
    if image.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let segments = segments(image)?;
    let dynamic = segments.iter().find(|segment| segment.kind == DYNAMIC)?;
    let (mut address, mut size) = (None, None);
    for at in (dynamic.offset..dynamic.offset.checked_add(dynamic.size)?).step_by(16) {
        match long(image, at)? {
            STRTAB => address = Some(long(image, at.saturating_add(8))?),
            STRSZ => size = Some(long(image, at.saturating_add(8))?),
            _ => {}
        }
    }
    let (address, size) = (address?, size?);
    let holds = |segment: &&Segment| {
        segment.kind == LOAD
            && address
                .checked_sub(segment.address)
                .is_some_and(|into| into.saturating_add(size) <= segment.size)
    };
    let segment = segments.iter().find(holds)?;
    let start = usize::try_from(segment.offset.checked_add(address - segment.address)?).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    (end <= image.len()).then_some(start..end)
}

/// The program headers.
fn segments(image: &[u8]) -> Option<Vec<Segment>> {
    let (table, entry, count) = (long(image, 32)?, short(image, 54)?, short(image, 56)?);
    (0..u64::from(count))
        .map(|index| {
            let at = table.checked_add(index * u64::from(entry))?;
            Some(Segment {
                kind: u32::from_le_bytes(bytes(image, at)?),
                offset: long(image, at.saturating_add(8))?,
                address: long(image, at.saturating_add(16))?,
                size: long(image, at.saturating_add(32))?,
            })
        })
        .collect()
}

fn bytes<const N: usize>(image: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    image.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn long(image: &[u8], at: u64) -> Option<u64> {
    bytes(image, at).map(u64::from_le_bytes)
}

fn short(image: &[u8], at: u64) -> Option<u16> {
    bytes(image, at).map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole() {
        let names = b"\0nvmlInit_v2\0xnvmlInit\0nvmlInit\0";
        assert_eq!(position(names, "nvmlInit"), Some(23));
        assert_eq!(position(names, "nvmlInit_v2"), Some(1));
        assert_eq!(position(names, "nvml"), None);
    }

    #[test]
    fn what_is_no_library_is_refused() {
        assert!(dynamic_strings(b"").is_err());
        assert!(dynamic_strings(b"\x7fELF\x02\x01").is_err());
        assert!(dynamic_strings(&[b"\x7fELF\x02\x01".as_slice(), &[0xff; 200]].concat()).is_err());
    }
}

//! Text in a file that tells about the machine that made it.

use memchr::memmem;

use crate::image::Image;

/// More than that many places per text are not listed.
const LIMIT: usize = 1000;
/// How much of the text around a place is shown, on each side.
const AROUND: usize = 120;

/// One place where a text was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Which of the texts: its position in the list.
    pub needle: usize,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The ELF section or part of the file; `None` in other files.
    pub section: Option<String>,
    /// The printable characters before and behind, and the text itself.
    pub text: String,
}

/// Searches all bytes of a file for texts; at most 1000 places each, in the order of the list and then of the file.
/// An empty text is found nowhere. Compressed sections are not unpacked.
pub fn leaks(bytes: &[u8], needles: &[&[u8]]) -> Vec<Leak> {
    let image = Image::parse(bytes).ok();
    let mut found = Vec::new();
    for (position, needle) in needles.iter().enumerate().filter(|(_, needle)| !needle.is_empty()) {
        let places = memmem::find_iter(bytes, needle).take(LIMIT);
        found.extend(places.map(|offset| Leak {
            needle: position,
            offset: offset as u64,
            section: image.as_ref().map(|image| image.place(offset as u64)),
            text: around(bytes, offset, needle.len()),
        }));
    }
    found
}

fn around(bytes: &[u8], offset: usize, size: usize) -> String {
    let printable = |byte: &&u8| (0x20..0x7f).contains(*byte);
    let before = bytes[..offset].iter().rev().take(AROUND).take_while(printable).count();
    let end = offset + size;
    let behind = bytes[end..].iter().take(AROUND).take_while(printable).count();
    String::from_utf8_lossy(&bytes[offset - before..end + behind]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_with_what_stands_around_it() {
        let bytes = b"\0prefix=/build/me/x.c\0\xff/build/me\n";
        let found = leaks(bytes, &[b"/home/nobody", b"", b"/build/me"]);
        let found: Vec<_> = found.iter().map(|leak| (leak.needle, leak.offset, leak.text.as_str())).collect();
        assert_eq!(found, [(2, 8, "prefix=/build/me/x.c"), (2, 23, "/build/me")]);
    }

    #[test]
    fn the_list_is_bounded() {
        assert_eq!(leaks(&[b'a'; 5000], &[b"a"]).len(), LIMIT);
    }
}

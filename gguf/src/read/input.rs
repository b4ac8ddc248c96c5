//! Where bytes come from: a stream that only goes forward, or something that can jump over what is not needed.

use std::io::{self, Read, Seek, SeekFrom};

/// A reader that can leave bytes out.
pub(super) trait Input {
    /// Some of the next bytes; none at the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Leaves out the next `count` bytes, and says how many there were as far as it knows.
    fn skip(&mut self, count: u64) -> io::Result<u64>;

    /// How many bytes there are in all, where that is known beforehand.
    fn size(&self) -> Option<u64>;
}

/// What can only be read on: a pipe, a decompressor.
pub(super) struct Stream<R>(pub(super) R);

impl<R: Read> Input for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn skip(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut self.0.by_ref().take(count), &mut io::sink())
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

/// What can be read anywhere: a file, or a file on a server that answers ranges.
pub(super) struct Seekable<R> {
    reader: R,
    size: Option<u64>,
}

impl<R: Read + Seek> Seekable<R> {
    /// Starts at the first byte.
    pub(super) fn new(mut reader: R) -> io::Result<Seekable<R>> {
        // A server need not say how large its file is.
        let size = reader.seek(SeekFrom::End(0)).ok();
        reader.seek(SeekFrom::Start(0))?;
        Ok(Seekable { reader, size })
    }
}

impl<R: Read + Seek> Input for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }

    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let distance = i64::try_from(count).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let position = self.reader.seek(SeekFrom::Current(distance))?;
        // Jumping over the end is no error of a file.
        let beyond = self.size.map_or(0, |size| position.saturating_sub(size));
        Ok(count.saturating_sub(beyond))
    }

    fn size(&self) -> Option<u64> {
        self.size
    }
}

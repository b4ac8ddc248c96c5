//! A whole model: one file or all of its parts, of any byte order, from wherever ranges of bytes can be read.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};

use super::input::{Input, Seekable};
use super::source::{Source, invalid};
use super::split::{self, Split};
use super::{Arrays, ByteOrder, Header, MAX_HEADER_BYTES, parse};

/// What the files of a model say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFiles {
    /// The model as if it were one file: the metadata of the first part without the `split.` keys, and the tensors of all
    /// parts. [`Header::data_offset`], and the offsets of tensors, are those within their own file.
    pub header: Header,
    /// In which order the bytes of a number stand, in the header and in the weights.
    pub byte_order: ByteOrder,
    /// The files, in the order of the parts; a model that is not split has one.
    pub files: Vec<ModelFile>,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Without its directory.
    pub name: String,
    /// How large it is; `None` where a server does not say so.
    pub bytes: Option<u64>,
    /// Where its data section starts, in bytes from the start of the file.
    pub data_offset: u64,
    /// Where its last tensor ends; a shorter file is truncated.
    pub end: u64,
    /// Which of [`ModelFiles::header`]'s tensors it holds.
    pub tensors: Range<usize>,
}

impl ModelFiles {
    /// Opens a model: its only file, or any of its parts, whose siblings must lie in the same directory.
    ///
    /// # Errors
    /// [`codes::MODEL_UNREADABLE`]: a file does not exist, is not a file or cannot be read. [`codes::MODEL_INVALID`]: one is
    /// not GGUF, is damaged, is shorter than its tensors, or does not belong to the others.
    pub fn open(path: &Path, arrays: Arrays) -> Result<ModelFiles> {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let model = format!("model `{}`", path.display());
        let open = |part: &str| match part == name {
            true => open_file(path),
            false => open_sibling(&path.with_file_name(part), part).map_err(|error| error.context(&model)),
        };
        // Errors of the file that was asked for name its path; errors of another part are told as what is wrong with it.
        match join(&name, arrays, open) {
            Ok(files) => Ok(files),
            Err(Failure::Opening(error)) => Err(error),
            Err(Failure::Truncated { name: part, end, bytes }) => {
                Err(truncated(&format!("model `{}`", path.with_file_name(part).display()), end, bytes))
            }
            Err(Failure::Reading { name: part, error }) if part == name => Err(error.context(model)),
            Err(Failure::Reading { name: part, error }) => Err(error.context(format_args!("{model}: part `{part}`"))),
        }
    }

    /// Opens a model that is to be run on this machine: as [`ModelFiles::open`], without long arrays, and
    /// [`ModelFiles::check_loadable`].
    ///
    /// # Errors
    /// As both.
    pub fn open_loadable(path: &Path) -> Result<ModelFiles> {
        let files = ModelFiles::open(path, Arrays::SHORT)?;
        files.check_loadable(path.display())?;
        Ok(files)
    }

    /// Reads a model of one file, called `name`, from a stream: its size is unknown then. A little more than the header may
    /// be taken from the stream. Long arrays are passed over.
    ///
    /// # Errors
    /// [`codes::MODEL_INVALID`]: it is not GGUF, is damaged, or is one part of a split model, whose others the stream does not
    /// hold. [`codes::MODEL_UNREADABLE`]: the stream failed.
    pub fn from_stream(name: &str, stream: impl io::Read) -> Result<ModelFiles> {
        let named = |error: Error| error.context(format_args!("model `{}`", name.escape_debug()));
        let (header, order) = Header::from_reader_with(stream, Arrays::SHORT).map_err(named)?;
        if let Some(split) = split::of(&header.metadata).map_err(named)? {
            return Err(named(
                invalid(format!("it is part {} of {}, and the others are needed too", split.index + 1, split.count))
                    .hint("name a file that lies beside them"),
            ));
        }
        Ok(only(name, Part { header, order, bytes: None }))
    }

    /// Reads a model called `name` from wherever `open` finds it and its parts: it gets the name of a file that lies beside
    /// the first. Of each file only as much is read as its header takes, in chunks that grow.
    ///
    /// # Errors
    /// As [`ModelFiles::open`], and what `open` and its readers fail with: an [`diagnostic::Error`] within the
    /// [`io::Error`] of a reader comes out as it is.
    pub fn read<R: Read + Seek>(name: &str, arrays: Arrays, open: impl FnMut(&str) -> Result<R>) -> Result<ModelFiles> {
        join(name, arrays, open).map_err(|failure| match failure {
            Failure::Opening(error) => error,
            Failure::Truncated { name, end, bytes } => {
                truncated(&format!("model `{}`", name.escape_debug()), end, bytes)
            }
            Failure::Reading { name, error } => error.context(format_args!("model `{}`", name.escape_debug())),
        })
    }

    /// Refuses what llama.cpp cannot load on this machine: a model that was written for the other byte order. `model` names
    /// it in the message.
    ///
    /// # Errors
    /// [`codes::MODEL_INVALID`].
    pub fn check_loadable(&self, model: impl Display) -> Result<()> {
        if self.byte_order == ByteOrder::NATIVE {
            return Ok(());
        }
        let (there, here) = (self.byte_order, ByteOrder::NATIVE);
        Err(invalid(format!("written for {there} machines, and this one is {here}"))
            .hint("llama.cpp's `gguf_convert_endian.py` turns it round")
            .context(format_args!("model `{model}`")))
    }

    /// How large the files are together; `None` where a server does not say so.
    pub fn bytes(&self) -> Option<u64> {
        self.files.iter().try_fold(0_u64, |sum, file| Some(sum.saturating_add(file.bytes?)))
    }

    /// The files, when `path` is one of them: the first is the one that llama.cpp wants to be given.
    pub fn paths(&self, path: &Path) -> Vec<PathBuf> {
        match self.files.as_slice() {
            // Its name may not be UTF-8.
            [_] => vec![path.to_owned()],
            files => files.iter().map(|file| path.with_file_name(&file.name)).collect(),
        }
    }
}

/// Why files do not make a model.
enum Failure {
    /// A file cannot be opened; the error names it.
    Opening(Error),
    /// A file is not what it should be; the error does not name it.
    Reading { name: String, error: Error },
    /// A file is shorter than its tensors.
    Truncated { name: String, end: u64, bytes: u64 },
}

/// One file that was read.
struct Part {
    header: Header,
    order: ByteOrder,
    bytes: Option<u64>,
}

fn join<R: Read + Seek>(
    name: &str,
    arrays: Arrays,
    mut open: impl FnMut(&str) -> Result<R>,
) -> Result<ModelFiles, Failure> {
    let mut budget = MAX_HEADER_BYTES;
    let mut read = |name: &str| {
        let reader = open(name).map_err(Failure::Opening)?;
        let part = read_part(reader, arrays, &mut budget)
            .map_err(|error| Failure::Reading { name: name.to_owned(), error })?;
        match (part.bytes, part.header.end()) {
            (Some(bytes), end) if bytes < end => Err(Failure::Truncated { name: name.to_owned(), end, bytes }),
            _ => Ok(part),
        }
    };
    let failed = |name: &str, error| Failure::Reading { name: name.to_owned(), error };
    let given = read(name)?;
    let Some(split) = split::of(&given.header.metadata).map_err(|error| failed(name, error))? else {
        return Ok(only(name, given));
    };
    let names = split.names(name).map_err(|error| failed(name, error))?;
    let order = given.order;
    let mut given = Some(given);
    let mut joined: Option<ModelFiles> = None;
    for (index, name) in (0..).zip(names) {
        let part = match given.take_if(|_| index == split.index) {
            Some(part) => part,
            None => read(&name)?,
        };
        belongs(&part, Split { index, ..split }, order).map_err(|error| failed(&name, error))?;
        match &mut joined {
            None => joined = Some(only(&name, part)),
            Some(joined) => joined.append(name, part),
        }
    }
    let mut joined = joined.expect("a split model has at least two parts");
    joined.check(split).map_err(|error| failed(name, error))?;
    split::forget(&mut joined.header.metadata);
    Ok(joined)
}

fn read_part(reader: impl Read + Seek, arrays: Arrays, budget: &mut u64) -> Result<Part> {
    let mut input = Seekable::new(reader)
        .map_err(|error| Error::new(codes::MODEL_UNREADABLE, format!("cannot be read: {error}")).source(error))?;
    let bytes = input.size();
    let (header, order) = parse::header(&mut Source::new(&mut input, budget), arrays)?;
    Ok(Part { header, order, bytes })
}

/// A model of one file.
fn only(name: &str, part: Part) -> ModelFiles {
    let Part { header, order, bytes } = part;
    let (data_offset, end, tensors) = (header.data_offset, header.end(), 0..header.tensors.len());
    let file = ModelFile { name: name.to_owned(), bytes, data_offset, end, tensors };
    ModelFiles { header, byte_order: order, files: vec![file] }
}

/// Refuses a part that is not the one which its name says.
fn belongs(part: &Part, expected: Split, order: ByteOrder) -> Result<()> {
    let Split { index, count, .. } = expected;
    match split::of(&part.header.metadata)? {
        Some(split) if split == expected => {}
        Some(split) => {
            return Err(invalid(format!(
                "it says to be part {} of {} with {} tensors in all, and part {} of {count} with {} is due",
                split.index + 1,
                split.count,
                split.tensors,
                index + 1,
                expected.tensors,
            )));
        }
        None => return Err(invalid(format!("it says to be a whole model, and part {} of {count} is due", index + 1))),
    }
    if part.order != order {
        return Err(invalid("its byte order is not that of the other parts"));
    }
    Ok(())
}

impl ModelFiles {
    fn append(&mut self, name: String, part: Part) {
        let (data_offset, end, bytes) = (part.header.data_offset, part.header.end(), part.bytes);
        let first = self.header.tensors.len();
        self.header.tensors.extend(part.header.tensors);
        self.files.push(ModelFile { name, bytes, data_offset, end, tensors: first..self.header.tensors.len() });
    }

    /// Refuses parts that do not make up the whole.
    fn check(&self, split: Split) -> Result<()> {
        let tensors = &self.header.tensors;
        if tensors.len() as u64 != split.tensors {
            return Err(invalid(format!(
                "its {} parts have {} tensors, and {} are due",
                split.count,
                tensors.len(),
                split.tensors
            )));
        }
        match super::duplicate(tensors.iter().map(|tensor| tensor.name.as_str())) {
            Some(twice) => Err(invalid(format!("tensor `{twice}` appears in two parts"))),
            None => Ok(()),
        }
    }
}

fn open_sibling(path: &Path, name: &str) -> Result<File> {
    open_file(path).map_err(|error| match path.try_exists() {
        Ok(false) => Error::new(codes::MODEL_UNREADABLE, format!("its part `{name}` is missing"))
            .hint("copy or download all parts into one directory"),
        _ => error,
    })
}

fn open_file(path: &Path) -> Result<File> {
    let name = path.display();
    let unreadable = |why: &str| Error::new(codes::MODEL_UNREADABLE, format!("model `{name}` {why}"));
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            unreadable("does not exist").hint("write a test model with `cargo xtask model --shape tiny`")
        }
        _ => cannot_read(path, error),
    })?;
    if metadata.is_dir() {
        return Err(unreadable("is a directory").hint("name the `.gguf` file itself"));
    }
    if !metadata.is_file() {
        // Opening a named pipe would wait for a writer, perhaps for ever.
        return Err(unreadable("is not a regular file"));
    }
    File::open(path).map_err(|error| cannot_read(path, error))
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    let error = Error::io("cannot read model", path, error);
    Error::new(codes::MODEL_UNREADABLE, error.to_string()).source(error)
}

fn truncated(model: &str, end: u64, bytes: u64) -> Error {
    let message = format!("{model} is truncated: its tensors need {end} bytes, the file has {bytes}");
    Error::new(codes::MODEL_INVALID, message).hint("copy or download it again")
}

//! Moving the pin to another upstream commit.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use diagnostic::{Error, Result, codes};
use flate2::read::GzDecoder;
use tempfile::NamedTempFile;

use super::mirror::LIMITS;
use super::staging::{self, Staging};
use super::{BOUNDS, Progress, VendorPlan};
use crate::archive::{self, Wanted};
use crate::http;
use crate::manifest;
use crate::pin::{self, GitId, Pin};
use crate::tree;

/// What [`bump`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bumped {
    /// The pin before.
    pub old: Pin,
    /// The pin now.
    pub new: Pin,
    /// How many files the new tree has.
    pub files: usize,
}

/// Moves the plan's pin to `commit`: fetches its archive from upstream, computes its tree id, and rewrites the
/// commit, tree and date in the pin file and the whole manifest. Comments, the release and other mirrors stay: they are
/// for a person to look at. The new tree is put in place of the old one.
///
/// # Errors
/// [`codes::PIN_INVALID`] when `commit` is not a full id or upstream does not know it; [`codes::UNREACHABLE`] without a
/// network. The pin is then unchanged.
pub fn bump(plan: &VendorPlan, commit: &str, progress: &mut dyn FnMut(Progress)) -> Result<Bumped> {
    let VendorPlan { pin: old, vendor, .. } = plan;
    let pin_path = vendor.join(pin::FILE);
    let commit: GitId = commit.parse().map_err(|why: String| Error::new(codes::PIN_INVALID, why))?;
    let Some(url) = old.mirrors.iter().find_map(|mirror| mirror.archive_url(commit)) else {
        return Err(Error::new(codes::PIN_INVALID, format!("`{}` has no archive mirror", pin_path.display())));
    };
    let staging = Staging::open(vendor, progress)?;
    let staged = staging.slot("tree")?;
    let archive = staged.with_file_name("archive.tar.gz");
    http::download(&url, &archive, None, &LIMITS, &mut |bytes, of| progress(Progress::Bytes(bytes, of))).map_err(
        |error| match error.code() {
            code if code == codes::NOT_FOUND => {
                Error::new(codes::PIN_INVALID, format!("upstream does not know the commit {commit} (`{url}`)"))
                    .source(error)
            }
            code if code == codes::UNREACHABLE => {
                error.hint("moving the pin needs upstream itself: no other mirror has it")
            }
            _ => error,
        },
    )?;
    archive::extract(&archive, &Wanted::BelowSingleTop, BOUNDS, &staged)?;
    staging::remove_git(&staged)?;
    let files = tree::list(&staged)?;
    let date = archived_on(&archive)?;

    let text = fs::read_to_string(&pin_path).map_err(|error| Error::io("cannot read", &pin_path, error))?;
    let text = rewritten(&text, commit, tree::id(&files)?, &date);
    let new = Pin::parse(&text, &pin_path)?;
    process::interrupt::check()?;
    // Pin last: until it is there, the new manifest explains nothing, and the old pin still holds.
    replace(&vendor.join(manifest::FILE), &manifest::print(&files))?;
    replace(&pin_path, text.as_bytes())?;
    staging.put_in_place(&staged, &plan.tree())?;
    Ok(Bumped { old: old.clone(), new, files: files.len() })
}

/// The pin's text with other values on the lines of these three keys.
fn rewritten(text: &str, commit: GitId, tree: GitId, date: &str) -> String {
    let values = [("commit", commit.to_string()), ("tree", tree.to_string()), ("date", date.to_owned())];
    let mut top = true;
    text.split_inclusive('\n')
        .map(|line| {
            top &= !line.starts_with('[');
            let key = line.split('=').next().unwrap_or_default().trim();
            match values.iter().find(|(name, _)| top && *name == key) {
                Some((name, value)) => format!("{name} = \"{value}\"\n"),
                None => line.to_owned(),
            }
        })
        .collect()
}

/// The day of the commit: upstream's host gives every entry of an archive the commit's time.
fn archived_on(archive: &Path) -> Result<String> {
    let damaged = |error| Error::io("cannot read", archive, error);
    let file = File::open(archive).map_err(damaged)?;
    let mut tar = tar::Archive::new(GzDecoder::new(file).take(BOUNDS.total));
    for entry in tar.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        if entry.header().entry_type().is_file() {
            return Ok(day(entry.header().mtime().map_err(damaged)?));
        }
    }
    Err(Error::new(codes::ARCHIVE_INVALID, format!("archive `{}` has no file", archive.display())))
}

/// `YYYY-MM-DD` of a Unix time, by counting whole years and months.
fn day(seconds: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut days) = (1970, seconds / 86_400);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

/// Writes a file of the repository so that it is the old one or the new one, never half.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let cannot_write = |error| Error::io("cannot write", path, error);
    let dir = path.parent().expect("files of `vendor/` have a parent");
    let mut file = NamedTempFile::new_in(dir).map_err(cannot_write)?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(cannot_write)?;
    let permissions = fs::metadata(path).map(|metadata| metadata.permissions());
    if let Ok(permissions) = permissions {
        file.as_file().set_permissions(permissions).map_err(cannot_write)?;
    }
    file.persist(path).map_err(|error| cannot_write(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_lines_of_the_pin_change() {
        let text = include_str!("../../../vendor/llama.cpp.toml");
        let one: GitId = "1111111111111111111111111111111111111111".parse().unwrap();
        let two: GitId = "2222222222222222222222222222222222222222".parse().unwrap();
        let changed = rewritten(text, one, two, "2026-12-31");
        let pin = Pin::parse(&changed, Path::new("pin.toml")).unwrap();
        assert_eq!((pin.commit, pin.tree, pin.date.to_string()), (one, two, "2026-12-31".to_owned()));
        let differing = text.lines().zip(changed.lines()).filter(|(a, b)| a != b).count();
        assert_eq!((differing, changed.lines().count()), (3, text.lines().count()));
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds), expected);
        }
    }
}

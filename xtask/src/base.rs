//! What images stand on: a few files of Debian packages, pinned in `images/base.toml`.
//!
//! | module | job |
//! |---|---|
//! | `pins` | the pins as data, and how they are moved |
//! | `packages` | brings the pinned `.deb` files here, through apt |
//! | `deb` | files of a `.deb` into a base |
//! | `closure` | whether the programs of a build find all their libraries in it |

pub(crate) mod closure;
mod deb;
mod packages;
pub(crate) mod pins;

use artefact::image::USER;
use artefact::{Base, Entry};
use diagnostic::Result;

pub(crate) use packages::bump;
pub(crate) use pins::{Kind, Pins};

/// A base, and the time that all of its files get.
pub(crate) struct Assembled {
    pub(crate) base: Base,
    pub(crate) mtime: u64,
}

/// Fetches the packages that a kind of build needs and takes their files.
///
/// # Errors
/// [`codes::BASE_UNAVAILABLE`](diagnostic::codes::BASE_UNAVAILABLE): a package cannot be fetched, or is not the pinned one.
/// [`codes::BASE_INVALID`](diagnostic::codes::BASE_INVALID): it does not hold what is to be taken.
pub(crate) fn assemble(pins: &Pins, kind: Kind) -> Result<Assembled> {
    let mut base = skeleton()?;
    let mut mtime = 0;
    for package in pins.of(kind) {
        let deb = packages::fetch(package, &pins.architecture)?;
        // As old as the newest file in it: the same for everybody, and no lie.
        mtime = mtime.max(deb::take(&mut base, package, &deb)?);
    }
    Ok(Assembled { base, mtime })
}

/// What a container needs besides libraries: who runs in it, how names are looked up, where things may be put.
fn skeleton() -> Result<Base> {
    let mut base = Base::new();
    let text = |content: String| Entry::File { mode: 0o644, content: content.into_bytes() };
    // As in Debian; packages may use either name.
    for name in pins::MERGED {
        base.add(&format!("usr/{name}"), Entry::Directory(0o755))?;
        base.add(name, Entry::Link(format!("usr/{name}")))?;
    }
    base.add(
        "etc/passwd",
        text(format!(
            "root:x:0:0:root:/root:/usr/sbin/nologin\ncaravan:x:{USER}:{USER}:caravan:/nonexistent:/usr/sbin/nologin\n"
        )),
    )?;
    base.add("etc/group", text(format!("root:x:0:\ncaravan:x:{USER}:\n")))?;
    base.add("etc/nsswitch.conf", text("passwd: files\ngroup: files\nhosts: files dns\n".to_owned()))?;
    base.add("models", Entry::Directory(0o755))?;
    base.add("tmp", Entry::Directory(0o1777))?;
    Ok(base)
}

//! The pin: which llama.cpp we build, and where its source may be fetched.

mod values;

use std::fmt;
use std::fs;
use std::path::Path;

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use serde::Deserialize;
use toml::{Spanned, Table};

pub use values::{Date, GitId, PythonModule, PythonName};

/// File name of the pin inside `vendor/`.
pub const FILE: &str = "llama.cpp.toml";

/// The pin file is a page of text; what is far larger is not one.
const SIZE_LIMIT: u64 = 64 << 10;

/// What `vendor/llama.cpp.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Address of the upstream repository.
    pub upstream: String,
    /// The commit, for people and for `--version`; mirrors are not trusted to deliver it.
    pub commit: GitId,
    /// Id of the commit's git tree: what every delivered source is checked against.
    pub tree: GitId,
    /// Day of the commit, `YYYY-MM-DD`.
    pub date: Date,
    /// The last upstream release that the commit contains.
    pub version: String,
    /// Where the source may come from, in the order of trying.
    pub mirrors: Vec<Mirror>,
}

/// The file as it is written. Mirrors are read one by one afterwards: only so does an error know which one it is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    upstream: String,
    commit: GitId,
    tree: GitId,
    date: Date,
    version: String,
    mirror: Vec<Spanned<Table>>,
}

/// One place that delivers the pinned source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mirror {
    /// A `.tar.gz` of the commit with one directory at its top. No digest is known: hosts may pack it anew.
    Archive {
        /// Its address; `{commit}` stands for the pinned commit.
        url: String,
    },
    /// A directory in the source distribution of a Python package, fetched by pip from wherever pip is set up to look.
    PypiSdist {
        /// Name of the package.
        package: PythonName,
        /// Exact version of the package.
        version: PythonName,
        /// Digest of the source distribution.
        sha256: Sha256Digest,
        /// The directory that is the pinned tree.
        directory: String,
        /// The module that the package names as its build backend; see [`crate::vendor`] for why it must be known.
        backend: PythonModule,
    },
}

impl Mirror {
    /// The address of an archive mirror for one commit.
    pub fn archive_url(&self, commit: GitId) -> Option<String> {
        match self {
            Mirror::Archive { url } => Some(url.replace("{commit}", &commit.to_string())),
            Mirror::PypiSdist { .. } => None,
        }
    }
}

impl Pin {
    /// Reads and checks a pin file.
    ///
    /// # Errors
    /// [`codes::PIN_INVALID`], with the line and the reason.
    pub fn read(path: &Path) -> Result<Pin> {
        let invalid = |why: &str| {
            Error::new(codes::PIN_INVALID, format!("`{}` {why}", path.display()))
                .hint("restore it from version control: it is committed")
        };
        let size = fs::metadata(path)
            .map_err(|error| invalid(&format!("cannot be read: {}", diagnostic::plain(&error))).source(error))?
            .len();
        if size > SIZE_LIMIT {
            return Err(invalid(&format!("is {size} bytes long; a pin is a page of text")));
        }
        let text = fs::read_to_string(path)
            .map_err(|error| invalid(&format!("cannot be read: {}", diagnostic::plain(&error))).source(error))?;
        Pin::parse(&text, path)
    }

    /// Checks the text of a pin file; `path` is for messages.
    ///
    /// # Errors
    /// [`codes::PIN_INVALID`], with the line and the reason.
    pub fn parse(text: &str, path: &Path) -> Result<Pin> {
        let invalid =
            |why: String| Error::new(codes::PIN_INVALID, format!("`{}` is not a valid pin: {why}", path.display()));
        let at_line = |start: Option<usize>, error: toml::de::Error| {
            let line = start.map(|start| format!("line {}: ", 1 + text[..start].matches('\n').count()));
            invalid(line.unwrap_or_default() + error.message()).source(error)
        };
        let written: Written =
            toml::from_str(text).map_err(|error| at_line(error.span().map(|span| span.start), error))?;
        let mirror = |table: Spanned<Table>| {
            let start = table.span().start;
            Mirror::deserialize(table.into_inner()).map_err(|error| at_line(Some(start), error))
        };
        let Written { upstream, commit, tree, date, version, mirror: tables } = written;
        let mirrors = tables.into_iter().map(mirror).collect::<Result<_>>()?;
        let pin = Pin { upstream, commit, tree, date, version, mirrors };
        if !pin.upstream.starts_with("https://") {
            return Err(invalid(format!("`upstream` is `{}`; it must start with `https://`", pin.upstream)));
        }
        if pin.version.is_empty() {
            return Err(invalid("`version` is empty".to_owned()));
        }
        if pin.mirrors.is_empty() {
            return Err(invalid("it has no `[[mirror]]`".to_owned()));
        }
        for mirror in &pin.mirrors {
            match mirror {
                Mirror::Archive { url } if !url.starts_with("https://") || !url.contains("{commit}") => {
                    return Err(invalid(format!(
                        "mirror url `{url}` must start with `https://` and hold `{{commit}}`"
                    )));
                }
                Mirror::PypiSdist { directory, .. } if !is_plain_relative(directory) => {
                    return Err(invalid(format!("mirror directory `{directory}` must be a plain relative path")));
                }
                _ => {}
            }
        }
        Ok(pin)
    }
}

fn is_plain_relative(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// How a mirror is named in messages.
impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mirror::Archive { url } => {
                let host = url.split('/').nth(2).unwrap_or(url);
                write!(f, "archive at `{host}`")
            }
            Mirror::PypiSdist { package, version, .. } => write!(f, "python package `{package}` {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    // Not the committed pin: moving that one must not break these tests.
    const PIN: &str = r#"
upstream = "https://example.org/llama.cpp"
commit = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"
tree = "b2da53584951ec8aa40680229509a6646a637560"
date = "2026-10-01"
version = "0.5.0"

[[mirror]]
kind = "archive"
url = "https://example.org/llama.cpp/archive/{commit}.tar.gz"

[[mirror]]
kind = "pypi-sdist"
package = "llama-cpp-python"
version = "0.3.36"
sha256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
directory = "llama_cpp_python-0.3.36/vendor/llama.cpp"
backend = "scikit_build_core.build"
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(PIN.contains(from), "the pin does not hold {from:?}");
        let error = Pin::parse(&PIN.replacen(from, to, 1), Path::new("pin.toml")).unwrap_err();
        assert_eq!(error.code(), codes::PIN_INVALID);
        error.to_string()
    }

    #[test]
    fn the_committed_pin_is_valid() {
        Pin::parse(include_str!("../../vendor/llama.cpp.toml"), Path::new("pin.toml")).unwrap();
    }

    #[test]
    fn an_archive_mirror_has_an_address_per_commit() {
        let pin = Pin::parse(PIN, Path::new("pin.toml")).unwrap();
        assert_eq!(pin.commit.short(), "0c1e5709");
        let urls: Vec<_> = pin.mirrors.iter().filter_map(|mirror| mirror.archive_url(pin.commit)).collect();
        assert_eq!(urls, ["https://example.org/llama.cpp/archive/0c1e57098bba43ac29e6e3b677cdceebdd22334f.tar.gz"]);
        let names: Vec<_> = pin.mirrors.iter().map(Mirror::to_string).collect();
        assert_eq!(names, ["archive at `example.org`", "python package `llama-cpp-python` 0.3.36"]);
    }

    #[test]
    fn each_wrong_value_is_named_with_its_line_and_reason() {
        let wrong = [
            ("commit = \"0c1", "commit = \"0C1"),
            ("commit =", "comit ="),
            ("tree = \"b2da", "tree = \"b2d"),
            ("tree = \"b2da53584951ec8aa40680229509a6646a637560\"", ""),
            ("2026-10-01", "2026-13-01"),
            ("\"pypi-sdist\"", "\"ftp\""),
            ("sha256 = \"832d", "sha256 = \"832"),
            ("\"llama-cpp-python\"", "\"--index-url=x\""),
            ("\"llama_cpp_python-0.3.36/vendor", "\"../vendor"),
            ("archive/{commit}", "archive/main"),
            ("sha256 =", "sha256sum ="),
            ("version = \"0.5.0\"", "version = 5"),
            ("scikit_build_core.build", "scikit/../x"),
            ("upstream = \"https://", "upstream = \"git://"),
            ("version = \"0.5.0\"", "version = \"0.5.0"),
        ];
        let messages: Vec<_> = wrong.into_iter().map(|(from, to)| refused(from, to)).collect();
        assert_snapshot!(messages.join("\n"), @r#"
        `pin.toml` is not a valid pin: line 3: `0C1e57098bba43ac29e6e3b677cdceebdd22334f` is not a full git id (40 lower-case hexadecimal digits)
        `pin.toml` is not a valid pin: line 3: unknown field `comit`, expected one of `upstream`, `commit`, `tree`, `date`, `version`, `mirror`
        `pin.toml` is not a valid pin: line 4: `b2d53584951ec8aa40680229509a6646a637560` is not a full git id (40 lower-case hexadecimal digits)
        `pin.toml` is not a valid pin: line 1: missing field `tree`
        `pin.toml` is not a valid pin: line 5: `2026-13-01` is not a date like `2026-10-01`
        `pin.toml` is not a valid pin: line 12: unknown variant `ftp`, expected `archive` or `pypi-sdist`
        `pin.toml` is not a valid pin: line 12: `832b0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e` is not a sha256 of 64 lower-case hexadecimal digits
        `pin.toml` is not a valid pin: line 12: `--index-url=x` is not a plain package name or version
        `pin.toml` is not a valid pin: mirror directory `../vendor/llama.cpp` must be a plain relative path
        `pin.toml` is not a valid pin: mirror url `https://example.org/llama.cpp/archive/main.tar.gz` must start with `https://` and hold `{commit}`
        `pin.toml` is not a valid pin: line 12: unknown field `sha256sum`, expected one of `package`, `version`, `sha256`, `directory`, `backend`
        `pin.toml` is not a valid pin: line 6: invalid type: integer `5`, expected a string
        `pin.toml` is not a valid pin: line 12: `scikit/../x` is not the name of a Python module
        `pin.toml` is not a valid pin: `upstream` is `git://example.org/llama.cpp`; it must start with `https://`
        `pin.toml` is not a valid pin: line 6: invalid basic string, expected `"`
        "#);
    }

    #[test]
    fn an_unreadable_pin_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Pin::read(&dir.path().join(FILE)).unwrap_err();
        assert_eq!(error.code(), codes::PIN_INVALID);
        assert!(error.to_string().contains(FILE), "{error}");
    }
}

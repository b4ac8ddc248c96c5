//! OpenBLAS: where it is, if it is anywhere.

use std::path::{Path, PathBuf};

use diagnostic::Result;

use crate::toolchain::{Program, compile_and_run, pypi};

/// An OpenBLAS to build the plug-in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBlas {
    /// As the library reports it, `0.3.34`.
    pub version: String,
    /// The shared library.
    pub library: PathBuf,
    /// The directory of `cblas.h`.
    pub include_dir: PathBuf,
    /// Included before everything else when the library's symbols carry a prefix.
    pub mapping_header: Option<PathBuf>,
    /// The library's licence, if it must be installed beside the plug-in because the system does not have it.
    pub bundled: Option<PathBuf>,
}

/// Where distributions put `cblas.h`: beside the other headers, in a directory of its own, or per architecture.
const INCLUDE_DIRS: &[&str] =
    &["/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu", "/usr/include/openblas", "/usr/include"];
const LIBRARY_DIRS: &[&str] = &["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/// The system's OpenBLAS, if its headers and library are installed and a program that uses them runs.
pub fn of_system(c_compiler: &Program) -> Option<OpenBlas> {
    let include_dir = INCLUDE_DIRS.iter().map(Path::new).find(|dir| dir.join("openblas_config.h").is_file())?;
    let library =
        LIBRARY_DIRS.iter().map(|dir| Path::new(dir).join("libopenblas.so")).find(|library| library.exists())?;
    let found = OpenBlas {
        version: String::new(),
        library,
        include_dir: include_dir.to_owned(),
        mapping_header: None,
        bundled: None,
    };
    found.probed(c_compiler).ok()
}

/// The OpenBLAS of the PyPI package `scipy-openblas32`, unpacked in `dir`.
///
/// # Errors
/// A program that uses it does not compile or run.
pub fn of_pypi(dir: &Path, c_compiler: &Program) -> Result<OpenBlas> {
    let found = OpenBlas {
        version: String::new(),
        library: dir.join("scipy_openblas32/lib/libscipy_openblas.so"),
        include_dir: dir.join("scipy_openblas32/include"),
        mapping_header: Some(crate::driver::cmake_project("native").join("prefixed_openblas.h")),
        bundled: Some(pypi::OPENBLAS.licences(dir).join("LICENSE.txt")),
    };
    found.probed(c_compiler)
}

impl OpenBlas {
    /// Fills in the version by compiling and running a program that multiplies two matrices.
    fn probed(mut self, c_compiler: &Program) -> Result<OpenBlas> {
        let mut arguments = vec![format!("-I{}", self.include_dir.display())];
        if let Some(header) = &self.mapping_header {
            arguments.extend(["-include".to_owned(), header.display().to_string()]);
        }
        arguments.push(self.library.display().to_string());
        if let Some(dir) = self.library.parent() {
            arguments.push(format!("-Wl,-rpath,{}", dir.display()));
        }
        self.version = compile_and_run(c_compiler, "c", PROBE, &arguments)?;
        Ok(self)
    }
}

/// Prints the version, after a product that must be right.
const PROBE: &str = r#"
#include <cblas.h>
#include <openblas_config.h>
#include <stdio.h>
int main(void) {
    float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8}, c[4] = {0};
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 2, 2, 1.0f, a, 2, b, 2, 0.0f, c, 2);
    const char * version = OPENBLAS_VERSION;
    while (*version && (*version < '0' || *version > '9')) version++;
    for (; *version && *version != ' '; version++) putchar(*version);
    return c[0] == 19 && c[3] == 50 ? 0 : 1;
}
"#;

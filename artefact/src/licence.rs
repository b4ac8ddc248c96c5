//! The licences that lie in a build, and whose they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use diagnostic::{Error, Result, codes};

use crate::tree::{self, Node};

/// Where licences lie: `share/licenses/<component>/<file>`.
const DIRECTORY: &str = "share/licenses/";
/// The component whose directory also holds the licences of code that it bundles, as `LICENSE-<component>`.
pub(crate) const LLAMA: &str = "llama.cpp";
/// llama.cpp's own licence.
pub(crate) const LLAMA_LICENCE: &str = "MIT";
const SIZE_LIMIT: u64 = 1 << 20;

/// One file with a licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Licence {
    /// Where it lies in the build.
    pub(crate) path: String,
    /// What it is, as an SPDX expression, when its text is one of the well-known.
    pub(crate) spdx: Option<&'static str>,
}

/// The licences below `share/licenses/`, by component.
///
/// # Errors
/// A licence cannot be read, is larger than 1 MiB or lies in no component's directory.
pub(crate) fn read(root: &Path) -> Result<BTreeMap<String, Vec<Licence>>> {
    let mut components: BTreeMap<String, Vec<Licence>> = BTreeMap::new();
    for (path, node) in tree::list(root)? {
        let (Node::File { size, .. }, Some(below)) = (node, path.strip_prefix(DIRECTORY)) else { continue };
        let refused = |why: &str| Error::new(codes::GATE_FAILED, format!("licence `{path}` is refused: {why}"));
        let Some((directory, file)) = below.split_once('/') else {
            return Err(refused("it does not lie in the directory of a component"));
        };
        if size > SIZE_LIMIT {
            return Err(refused("it is larger than 1 MiB"));
        }
        let component = match file.strip_prefix("LICENSE-") {
            Some(bundled) if directory == LLAMA => bundled,
            _ => directory,
        };
        let mut text = Vec::new();
        let fail = |error| Error::io("cannot read", &root.join(&path), error);
        tree::open(root, &path)?.take(SIZE_LIMIT).read_to_end(&mut text).map_err(fail)?;
        let spdx = recognise(&String::from_utf8_lossy(&text));
        components.entry(component.to_owned()).or_default().push(Licence { path: path.clone(), spdx });
    }
    Ok(components)
}

/// All licences of a build as one SPDX expression.
pub(crate) fn expression(components: &BTreeMap<String, Vec<Licence>>) -> String {
    let mut terms = BTreeSet::from([LLAMA_LICENCE.to_owned()]);
    for (component, licences) in components {
        terms.extend(licences.iter().map(|licence| licence.spdx.map_or_else(|| reference(component), str::to_owned)));
    }
    Vec::from_iter(terms).join(" AND ")
}

/// SPDX's name for a licence that it has no name for.
fn reference(component: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("LicenseRef-{}", component.chars().map(plain).collect::<String>())
}

/// The well-known licence that a text is, told by a phrase that no other has.
fn recognise(text: &str) -> Option<&'static str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ").to_lowercase();
    let has = |phrase: &str| text.contains(phrase);
    if has("gnu general public license") || has("gnu lesser general public license") {
        // Which version, and which exception, decides what may be done: a person must look.
        None
    } else if has("apache license") && has("version 2.0") {
        Some(if has("llvm exceptions") { "Apache-2.0 WITH LLVM-exception" } else { "Apache-2.0" })
    } else if has("boost software license - version 1.0") {
        Some("BSL-1.0")
    } else if has("this is free and unencumbered software") {
        Some("Unlicense")
    } else if has("permission is hereby granted, free of charge") {
        Some("MIT")
    } else if has("redistribution and use in source and binary forms") && !has("advertising materials") {
        Some(if has("neither the name") { "BSD-3-Clause" } else { "BSD-2-Clause" })
    } else if has("permission to use, copy, modify, and/or distribute this software") {
        Some(if has("provided that the above copyright notice") { "ISC" } else { "0BSD" })
    } else if has("this software is provided 'as-is', without any express or implied warranty") {
        Some("Zlib")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_texts_are_recognised_across_line_breaks() {
        let texts = [
            ("Permission is hereby granted, free\n  of charge, to any person", Some("MIT")),
            ("Apache License\n   Version 2.0, January 2004", Some("Apache-2.0")),
            (
                "The LLVM Project is under the Apache License v2.0 with LLVM Exceptions:\nVersion 2.0",
                Some("Apache-2.0 WITH LLVM-exception"),
            ),
            (
                "Redistribution and use in source and binary forms ... Neither the name of the OpenBLAS project",
                Some("BSD-3-Clause"),
            ),
            ("Redistribution and use in source and binary forms", Some("BSD-2-Clause")),
            ("Redistribution and use in source and binary forms; all advertising materials", None),
            ("GNU GENERAL PUBLIC LICENSE Version 3", None),
            ("all rights reserved", None),
        ];
        for (text, expected) in texts {
            assert_eq!(recognise(text), expected, "{text}");
        }
    }

    #[test]
    fn an_expression_names_each_licence_once_and_what_has_no_name() {
        let licence = |spdx| vec![Licence { path: String::new(), spdx }];
        let components = [("a", Some("MIT")), ("b", Some("BSD-3-Clause")), ("c d", None)];
        let components = components.map(|(name, spdx)| (name.to_owned(), licence(spdx))).into();
        assert_eq!(expression(&components), "BSD-3-Clause AND LicenseRef-c-d AND MIT");
    }
}

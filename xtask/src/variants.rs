//! The CPU variants of portable builds on this machine, in words and on the command line.

use build_info::{BuildId, BuildInfo, BuildKind};
use diagnostic::{Error, Result, codes};
use host::Cpu;
use host::variants::{self, Choice, Verdict};

/// The variant that the environment forces on every tool that we start.
pub(crate) fn forced() -> Option<String> {
    std::env::var(variants::FORCE).ok().filter(|name| !name.is_empty())
}

/// What a build runs with on this CPU; `None` for a native build that nobody wants a variant of.
pub(crate) fn of(info: &BuildInfo, cpu: &Cpu, forced: Option<&str>) -> Option<Choice> {
    match info.build_type {
        BuildKind::Native if forced.is_none() => None,
        _ => Some(variants::choose(cpu, &info.variants, forced)),
    }
}

/// Fails unless the build can run this variant here.
///
/// # Errors
/// [`codes::VARIANT_UNAVAILABLE`]: it is a native build, lacks the variant, or this machine cannot run it.
pub(crate) fn require(id: &BuildId, info: &BuildInfo, cpu: &Cpu, variant: &str) -> Result<()> {
    if info.build_type == BuildKind::Native {
        let message = format!("`{id}` is a native build, which has no CPU variants");
        return Err(Error::new(codes::VARIANT_UNAVAILABLE, message)
            .hint("name portable builds with `--builds`, or leave `--variant` out"));
    }
    let choice = variants::choose(cpu, &info.variants, Some(variant));
    choice.taken().map(drop).map_err(|error| error.context(format!("`{id}`")))
}

/// One line for the variant that runs, then one for each other, with the names in a column.
pub(crate) fn lines(choice: &Choice) -> Vec<String> {
    let has_variants = choice.reasons.iter().any(|reason| reason.verdict != Verdict::NotInBuild);
    let others = choice.reasons.iter().filter(|reason| has_variants && reason.verdict != Verdict::Taken);
    let width = choice.reasons.iter().map(|reason| reason.name.len()).max().unwrap_or(0);
    let head = match (choice.taken(), &choice.forced) {
        (Ok(name), None) => format!("{name} runs here"),
        (Ok(name), Some(_)) => format!("{name} runs here, because it is forced"),
        (Err(error), _) => format!("none: {error}"),
    };
    let others = others.map(|reason| format!("{:<width$}  {}", reason.name, why(&reason.verdict)));
    [head].into_iter().chain(others).collect()
}

fn why(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Taken => "runs here".to_owned(),
        Verdict::Outscored { by } => format!("could run, but {by} ranks higher"),
        Verdict::Missing { features } => format!("the CPU lacks {}", features.join(" ")),
        Verdict::OsDisabled { features } => format!("the operating system does not enable {}", features.join(" ")),
        Verdict::NotInBuild => "not in this build".to_owned(),
        Verdict::ForcedAway => "could run, but another is forced".to_owned(),
        Verdict::Unknown => "not known to this version".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    /// A build with the x86 variants of these names.
    pub(crate) fn build(kind: &str, variants: &[&str]) -> BuildInfo {
        let info = serde_json::json!({
            "schema_version": 1, "build_type": kind, "date": "2026-10-01T00:00:00Z", "hostname": null,
            "cpu_model": null, "cpu_flags": null, "cmake_flags": [], "llama_version": "0.5.0",
            "llama_commit": "0c1e57098bba43ac29e6e3b677cdceebdd22334f",
            "llama_tree": "b2da53584951ec8aa40680229509a6646a637560", "patches": [], "compiler": "zig 0.15.2",
            "reproducible": true, "optimal_threads": null, "variants": variants, "glibc_floor": "2.27",
            "blas": {"enabled": false, "vendor": null, "version": null, "reason": "portable", "measured": null},
            "lto": false, "openssl": null,
        });
        BuildInfo::from_json(info.to_string().as_bytes(), Path::new("build_info.json")).unwrap()
    }

    /// Every variant that upstream has for x86-64.
    pub(crate) fn all() -> Vec<&'static str> {
        variants::X86_64.variants.iter().map(|variant| variant.name).collect()
    }

    /// A CPU of the given x86 variants' level (synthetic), on a system that does not enable what stands after them.
    pub(crate) fn cpu(levels: &[&str], disabled: &[&str]) -> Cpu {
        let table = &variants::X86_64;
        let of_level = table.variants.iter().filter(|variant| levels.contains(&variant.name));
        let has = of_level.flat_map(|variant| table.features(variant)).map(str::to_owned);
        let (disabled_by_os, features) = has.partition(|feature| disabled.contains(&feature.as_str()));
        Cpu { features, disabled_by_os, ..Cpu::default() }
    }

    #[test]
    fn every_variant_has_one_aligned_line() {
        let info = build("portable", &["x64", "sse42", "haswell", "zen4", "alderlake", "sapphirerapids", "tigerlake"]);
        let amx = ["amx_tile", "amx_int8"];
        let avx512 = cpu(&["zen4", "sapphirerapids"], &amx);
        let shown = |cpu: &Cpu, forced| lines(&of(&info, cpu, forced).unwrap()).join("\n");
        insta::assert_snapshot!(shown(&avx512, None), @r"
        zen4 runs here
        x64             could run, but zen4 ranks higher
        sse42           could run, but zen4 ranks higher
        sandybridge     not in this build
        ivybridge       not in this build
        piledriver      not in this build
        haswell         could run, but zen4 ranks higher
        skylakex        not in this build
        cannonlake      not in this build
        cascadelake     not in this build
        icelake         not in this build
        cooperlake      not in this build
        alderlake       the CPU lacks avx_vnni
        sapphirerapids  the operating system does not enable amx_tile amx_int8
        tigerlake       not known to this version
        ");
        insta::assert_snapshot!(shown(&cpu(&["haswell"], &[]), Some("haswell")), @r"
        haswell runs here, because it is forced
        x64             could run, but another is forced
        sse42           could run, but another is forced
        sandybridge     not in this build
        ivybridge       not in this build
        piledriver      not in this build
        skylakex        not in this build
        cannonlake      not in this build
        cascadelake     not in this build
        icelake         not in this build
        cooperlake      not in this build
        zen4            the CPU lacks avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi avx512_vnni avx512_bf16
        alderlake       the CPU lacks avx_vnni
        sapphirerapids  the CPU lacks avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi avx512_vnni avx512_bf16 amx_tile amx_int8
        tigerlake       not known to this version
        ");
        insta::assert_snapshot!(shown(&cpu(&["sse42"], &[]), Some("haswell")).lines().next().unwrap(), @"none: CPU variant `haswell` cannot run here: the CPU lacks `avx`, `f16c`, `fma`, `avx2`, `bmi2`");
        assert_eq!(of(&build("native_optimized", &[]), &avx512, None), None);
        let native = of(&build("native_optimized", &[]), &avx512, Some("zen4")).unwrap();
        assert_eq!(lines(&native), ["none: CPU variant `zen4` is not in this build"]);
    }

    #[test]
    fn what_cannot_run_is_refused_with_the_build_named() {
        let id: BuildId = "portable-0.5.0-0c1e5709-8f14e45f".parse().unwrap();
        let haswell = cpu(&["haswell"], &[]);
        let portable = build("portable", &all());
        let refused = |info: &BuildInfo, variant| {
            let error = require(&id, info, &haswell, variant).unwrap_err();
            format!("{}: {error}; {}", error.code().name, error.hints().join("; "))
        };
        require(&id, &portable, &haswell, "sandybridge").unwrap();
        let refusals = [
            refused(&portable, "skylakex"),
            refused(&portable, "granite"),
            refused(&build("native_optimized", &[]), "haswell"),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r"
        host::variant_unavailable: `portable-0.5.0-0c1e5709-8f14e45f`: CPU variant `skylakex` cannot run here: the CPU lacks `avx512f`, `avx512cd`, `avx512vl`, `avx512dq`, `avx512bw`; what can run here: `x64`, `sse42`, `sandybridge`, `ivybridge`, `piledriver`, `haswell`
        host::variant_unavailable: `portable-0.5.0-0c1e5709-8f14e45f`: CPU variant `granite` is not in this build; what can run here: `x64`, `sse42`, `sandybridge`, `ivybridge`, `piledriver`, `haswell`
        host::variant_unavailable: `portable-0.5.0-0c1e5709-8f14e45f` is a native build, which has no CPU variants; name portable builds with `--builds`, or leave `--variant` out
        ");
    }
}

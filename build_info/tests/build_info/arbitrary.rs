//! Strategies for any build information and any tuning.

use build_info::{
    Blas, BlasFigures, BuildId, BuildInfo, BuildKind, ClassTuning, Extra, Figure, HostFingerprint, ModelClass, Patch,
    PhaseTuning, Rates, Search, Sha256Digest, Timestamp, Trial, Tuning,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;
use std::num::NonZeroU32;

/// Any text, also with quotes, control characters and letters of all scripts.
fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

pub(crate) fn digest() -> impl Strategy<Value = Sha256Digest> {
    any::<[u8; 32]>().prop_map(Sha256Digest::new)
}

pub(crate) fn kind() -> impl Strategy<Value = BuildKind> {
    prop_oneof![Just(BuildKind::Portable), Just(BuildKind::Native)]
}

pub(crate) fn id() -> impl Strategy<Value = BuildId> {
    (kind(), "[0-9A-Za-z][0-9A-Za-z._+-]{0,63}", "[0-9a-f]{8,40}", digest())
        .prop_map(|(kind, version, commit, content)| BuildId::new(kind, &version, &commit, &content).unwrap())
}

/// 1970 to 9999, to the nanosecond.
fn date() -> impl Strategy<Value = Timestamp> {
    (0..253_402_200_000_i64, 0..1_000_000_000_i32)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
}

fn threads() -> impl Strategy<Value = NonZeroU32> {
    (1..=u32::MAX).prop_map(|n| NonZeroU32::new(n).unwrap())
}

fn rate() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL
}

/// What a later version might add anywhere; the names cannot clash with today's.
fn extra() -> impl Strategy<Value = Extra> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        rate().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((text(), inner), 0..3).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    });
    vec(("future_[a-z]{0,6}", value), 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn rates() -> impl Strategy<Value = Rates> {
    (rate(), rate(), extra()).prop_map(|(prompt, generation, extra)| Rates { prompt, generation, extra })
}

fn blas() -> impl Strategy<Value = Blas> {
    let measured = (rates(), rates(), extra()).prop_map(|(on, off, extra)| BlasFigures { on, off, extra });
    (any::<bool>(), option::of(text()), option::of(text()), text(), option::of(measured), extra()).prop_map(
        |(enabled, vendor, version, reason, measured, extra)| Blas {
            enabled,
            vendor,
            version,
            reason,
            measured,
            extra,
        },
    )
}

pub(crate) fn build_info() -> impl Strategy<Value = BuildInfo> {
    let patch = (text(), digest(), extra()).prop_map(|(name, sha256, extra)| Patch { name, sha256, extra });
    let machine = (option::of(text()), option::of(text()), option::of(vec(text(), 0..4)), option::of(threads()));
    let source = (text(), text(), text(), vec(patch, 0..3));
    let how = (text(), btree_map(text(), text(), 0..3), vec(text(), 0..4), vec(text(), 0..3), option::of(text()));
    let rest = (any::<bool>(), any::<bool>(), blas(), option::of(text()), btree_map(text(), digest(), 0..4), extra());
    (kind(), date(), machine, source, how, rest).prop_map(|(build_type, date, machine, source, how, rest)| {
        let (hostname, cpu_model, cpu_flags, optimal_threads) = machine;
        let (llama_version, llama_commit, llama_tree, patches) = source;
        let (compiler, tools, cmake_flags, variants, glibc_floor) = how;
        let (reproducible, lto, blas, openssl, digests, extra) = rest;
        BuildInfo {
            schema_version: BuildInfo::SCHEMA_VERSION,
            build_type,
            date,
            hostname,
            cpu_model,
            cpu_flags,
            cmake_flags,
            llama_version,
            llama_commit,
            llama_tree,
            patches,
            compiler,
            tools,
            reproducible,
            optimal_threads,
            variants,
            glibc_floor,
            blas,
            lto,
            openssl,
            digests,
            extra,
        }
    })
}

fn phase() -> impl Strategy<Value = PhaseTuning> {
    let figure = (threads(), rate(), extra()).prop_map(|(threads, tokens_per_second, extra)| Figure {
        threads,
        tokens_per_second,
        extra,
    });
    let trial =
        (threads(), vec(rate(), 0..4), extra()).prop_map(|(threads, samples, extra)| Trial { threads, samples, extra });
    (threads(), rate(), threads(), figure, vec(trial, 0..3), extra()).prop_map(
        |(threads, tokens_per_second, tokens, baseline, trials, extra)| PhaseTuning {
            threads,
            tokens_per_second,
            tokens,
            baseline,
            trials,
            extra,
        },
    )
}

fn class_tuning() -> impl Strategy<Value = ClassTuning> {
    let settings =
        btree_map(text(), prop_oneof![any::<i64>().prop_map(Value::from), text().prop_map(Value::from)], 0..3);
    let search = (text(), id(), rate(), rate(), any::<bool>(), extra()).prop_map(
        |(goal, baseline, prompt_ratio, generation_ratio, complete, extra)| Search {
            goal,
            baseline,
            prompt_ratio,
            generation_ratio,
            complete,
            extra,
        },
    );
    let found = (settings, btree_map(text(), text(), 0..2), option::of(any::<u64>()), option::of(search));
    (date(), any::<bool>(), phase(), phase(), found, extra()).prop_map(
        |(date, unstable, generation, prompt, (settings, environment, bytes_per_token, search), extra)| ClassTuning {
            date,
            unstable,
            generation,
            prompt,
            settings,
            environment,
            bytes_per_token,
            search,
            extra,
        },
    )
}

pub(crate) fn tuning() -> impl Strategy<Value = Tuning> {
    let name = "[a-z0-9][a-z0-9._-]{0,63}";
    let host = name.prop_map(|text| text.parse::<HostFingerprint>().unwrap());
    let class = (name, name).prop_map(|(size, quant)| ModelClass::new(&size, &quant).unwrap());
    (host, id(), btree_map(class, class_tuning(), 0..3), extra()).prop_map(|(host, build, classes, extra)| Tuning {
        classes,
        extra,
        ..Tuning::new(host, build)
    })
}

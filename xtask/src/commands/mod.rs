//! One file per command: its flags, the plan made of them, and `run`.

pub(crate) mod bench;
pub(crate) mod clean_build;
pub(crate) mod codegen;
pub(crate) mod doctor;
pub(crate) mod image;
pub(crate) mod install_fast;
pub(crate) mod install_optimized;
pub(crate) mod k8s;
pub(crate) mod keygen;
pub(crate) mod list;
pub(crate) mod model;
pub(crate) mod package;
pub(crate) mod push;
pub(crate) mod rollback;
pub(crate) mod show_build;
pub(crate) mod test;
pub(crate) mod tune;
pub(crate) mod uninstall;
pub(crate) mod use_build;
pub(crate) mod vendor;
pub(crate) mod verify;

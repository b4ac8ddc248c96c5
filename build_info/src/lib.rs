//! The schema of build_info.json and tuning.json, shared by every writer and reader.
#![forbid(unsafe_code)]

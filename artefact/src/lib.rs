//! Caravan's artefact: what is in it, how it is packed, signed, verified and unpacked.
#![forbid(unsafe_code)]

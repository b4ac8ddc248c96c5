//! `keygen`: a key pair that signs artefacts.

use std::path::PathBuf;

use artefact::signature::KeyPair;
use clap::Args;
use diagnostic::Result;

use crate::{password, ui};

/// Make a key pair that signs artefacts; the public key belongs into `keys/`
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Where the secret key goes; the public one goes beside it, as FILE.pub
    file: PathBuf,
    /// Do not encrypt the secret key
    #[arg(long)]
    no_password: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let password = if self.no_password { None } else { Some(password::ask_new()?) };
        let mut public = self.file.clone().into_os_string();
        public.push(".pub");
        KeyPair::generate(password)?.write(&self.file, public.as_ref())?;
        ui::note(format!("written   the secret key `{}`: keep it to yourself", self.file.display()));
        ui::note(format!("written   the public key `{}`", PathBuf::from(public).display()));
        Ok(())
    }
}

//! What `docker login` and `podman login` stored.
//!
//! Here, and nowhere else in this crate, the environment is read: it says where the two keep their files.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::printable;

/// Bytes of a configuration file.
const FILE_LIMIT: u64 = 1 << 20;
/// What every credential helper prints when it has nothing for a registry.
const NOT_FOUND: &str = "credentials not found";

/// Who we are to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    Anonymous,
    /// A user with a password or token.
    Basic {
        /// Name of the user.
        username: String,
        /// Password or token.
        password: String,
    },
    /// Whatever is stored for the registry, looked up when it asks; nobody when nothing is.
    Stored,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Anonymous => f.write_str("Anonymous"),
            Credentials::Basic { username, .. } => write!(f, "Basic({username}, ...)"),
            Credentials::Stored => f.write_str("Stored"),
        }
    }
}

impl Credentials {
    /// The credentials that are stored for a repository of a registry in these files, the first that has some. In a file,
    /// those for the repository count before those for what is above it, down to the host.
    ///
    /// # Errors
    /// [`codes::REGISTRY_REFUSED`] when a file or an entry is damaged, a credential helper fails, or the entry is of a kind
    /// that only docker can use. That nothing is stored is no error.
    pub fn find(host: &str, repository: &str, files: &[PathBuf]) -> Result<Credentials> {
        for file in files {
            let content = match read(file) {
                Ok(content) => content,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(Error::io("cannot read credentials from", file, error)),
            };
            for key in keys(host, repository, &content) {
                match get_credential_from_reader(&*content, &key) {
                    Ok(DockerCredential::UsernamePassword(username, password)) => {
                        return Ok(Credentials::Basic { username, password });
                    }
                    Ok(DockerCredential::IdentityToken(_)) => {
                        let why = "an identity token is stored, which is not supported";
                        return Err(broken(file, host, why)
                            .hint(format!("log in with a password or an access token: `docker login {host}`")));
                    }
                    Err(error) if is_nothing(&error) => {}
                    Err(error) => return Err(explain(&error, file, host)),
                }
            }
        }
        Ok(Credentials::Anonymous)
    }
}

/// The files that podman and docker keep credentials in, podman's first.
pub(crate) fn files() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let podman = match env::var_os("REGISTRY_AUTH_FILE") {
        Some(file) => vec![Some(PathBuf::from(file))],
        None => vec![
            env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("containers/auth.json")),
            env::var_os("XDG_CONFIG_HOME")
                .map(|dir| Path::new(&dir).join("containers/auth.json"))
                .or_else(|| below_home(".config/containers/auth.json")),
        ],
    };
    let docker = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| below_home(".docker"));
    podman.into_iter().chain([docker.map(|dir| dir.join("config.json"))]).flatten().collect()
}

/// Under which names a file may keep what we need: as podman does, `host/owner/name`, `host/owner`, `host`. Of those with a
/// repository only the ones that the file lists: a credential helper knows none, and need not be started for each.
fn keys(host: &str, repository: &str, content: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default)]
        auths: Option<HashMap<String, IgnoredAny>>,
    }
    // A damaged file is reported by whoever reads it for good.
    let listed = serde_json::from_slice(content).ok().and_then(|Listed { auths }| auths).unwrap_or_default();
    // Docker keeps its own registry under an address of the past.
    let (name, hosts) = match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            ("docker.io", vec!["https://index.docker.io/v1/", "docker.io"])
        }
        _ => (host, vec![host]),
    };
    let whole = format!("{name}/{repository}");
    let longest_first = std::iter::successors(Some(whole.as_str()), |key| key.rsplit_once('/').map(|(above, _)| above));
    let namespaced = longest_first.filter(|key| key.len() > name.len() && listed.contains_key(*key));
    namespaced.chain(hosts).map(str::to_owned).collect()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.take(FILE_LIMIT).read_to_end(&mut content)?;
    Ok(content)
}

fn is_nothing(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured => true,
        CredentialRetrievalError::HelperFailure { stdout, .. } => stdout.contains(NOT_FOUND),
        _ => false,
    }
}

fn explain(error: &CredentialRetrievalError, file: &Path, host: &str) -> Error {
    match error {
        CredentialRetrievalError::HelperFailure { helper, stdout, stderr } => {
            let said = [stdout, stderr].into_iter().map(|text| text.trim()).find(|text| !text.is_empty());
            let said = said.map_or_else(|| "it said nothing".to_owned(), printable);
            broken(file, host, &format!("`{helper}` failed: {said}"))
        }
        CredentialRetrievalError::HelperCommunicationError => {
            broken(file, host, "the credential helper that it names cannot be asked")
                .hint("install the helper, or take `credsStore` and `credHelpers` out of the file")
        }
        CredentialRetrievalError::MalformedHelperResponse => {
            broken(file, host, "the credential helper that it names gave no valid answer")
        }
        CredentialRetrievalError::ConfigReadError => broken(file, host, "it is not a valid configuration"),
        _ => broken(file, host, "the entry is damaged").hint(format!("log in again: `docker login {host}`")),
    }
}

fn broken(file: &Path, host: &str, why: &str) -> Error {
    let message = format!("cannot take credentials for `{host}` from `{}`: {why}", file.display());
    Error::new(codes::REGISTRY_REFUSED, message)
}

//! Our manifests for Kubernetes: rendered by kustomize, then checked.
//!
//! | module | job |
//! |---|---|
//! | `kustomize` | finds a kustomize, renders overlays with it |
//! | `object` | what was rendered, and where in it something stands |
//! | `quantity` | CPUs and bytes as Kubernetes writes them |
//! | `rules` | our rules: pure functions from objects to findings |
//! | `schema` | the API's own schemas, of several versions |
//! | `finding` | what is wrong, where, why, and what to do |

pub(crate) mod finding;
pub(crate) mod kustomize;
pub(crate) mod object;
mod quantity;
pub(crate) mod rules;
pub(crate) mod schema;

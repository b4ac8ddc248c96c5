//! `image`: a build on top of a slim base, as an image that runs by itself; no daemon is needed.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use artefact::image::{Image, Layer, PORT, USER};
use artefact::{Contents, Offer, Split};
use clap::Args;
use diagnostic::{Error, Result, codes};
use oci::{
    Descriptor, Document, Layout, LayoutReference, Platform, ReadLayout, Reference, RegistryReference, Resolved, Source,
};
use process::Lock;
use serde_json::json;

use crate::base::{self, Kind, Pins, closure};
use crate::commands::package;
use crate::distribution::{self, AccessFlags, Trust};
use crate::layout::Target;
use crate::{publish, ui, unpacked, workspace};

/// Larger ones are refused: an image is pulled by every node of a cluster.
const SIZE_LIMIT: u64 = 100_000_000;

/// Make an image that runs `caravan serve`: the artefact's own layers on top of a slim base
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The artefact, or the native build that is installed here, which runs on this CPU only
    #[arg(long, value_enum, default_value_t = Kind::Portable)]
    kind: Kind,
    /// The artefact: `HOST/REPOSITORY[:TAG][@DIGEST]`, `oci:DIR` or `oci-archive:FILE`; what `package` has made in `dist/oci`
    /// when not given
    #[arg(long, value_name = "REFERENCE")]
    from: Option<String>,
    #[command(flatten)]
    access: AccessFlags,
    /// The layout directory to write; `dist/image` in the repository when not given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Push it to `HOST/REPOSITORY:TAG`
    #[arg(long, value_name = "REFERENCE")]
    push: Option<String>,
    /// Sign what is pushed with this minisign secret key; `CARAVAN_SIGN_PASSWORD` or a question gives its password
    #[arg(long, value_name = "FILE", requires = "push")]
    sign_key: Option<PathBuf>,
    /// Pin the versions of Debian's packages in `images/base.toml` that apt offers now, and stop
    #[arg(long, exclusive = true)]
    bump_base: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

/// What is put on top of the base.
enum Own {
    Artefact { source: Box<Source>, resolved: Box<Resolved>, offer: Box<Offer> },
    Build(Box<Contents>),
}

/// What will be made.
struct Plan {
    kind: Kind,
    pins: Pins,
    own: Own,
    out: Target,
    push: Option<(RegistryReference, Option<PathBuf>)>,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let pins = Pins::read()?;
        if self.bump_base {
            return base::bump(&pins);
        }
        let (json, dry_run) = (self.json, self.dry_run);
        let plan = self.plan(pins)?;
        if dry_run {
            return ui::print(plan.to_string());
        }
        let made = run(&plan)?;
        let seconds = start.elapsed().as_secs_f64();
        let (compressed, unpacked) = (made.compressed() as f64 / 1e6, made.image.uncompressed_size as f64 / 1e6);
        ui::note(format!("finished  {compressed:.1} MB, {unpacked:.1} MB unpacked, in {seconds:.1} s"));
        ui::print(if json { made.to_json() } else { made.reference.to_string() })
    }

    /// Looks at everything; changes nothing.
    fn plan(self, pins: Pins) -> Result<Plan> {
        let push = self.push.as_deref().map(publish::target).transpose()?;
        let own = match self.kind {
            Kind::Portable => artefact(self.from.as_deref(), &self.access)?,
            Kind::Native if self.from.is_some() => {
                let message = "a native build comes from the store, not from `--from`";
                return Err(Error::new(codes::REFERENCE_INVALID, message));
            }
            Kind::Native => native()?,
        };
        let out = self.out.unwrap_or_else(|| workspace::root().join("dist/image"));
        Ok(Plan { kind: self.kind, pins, own, out: Target::new(&out)?, push: push.map(|name| (name, self.sign_key)) })
    }
}

/// The artefact that is named, signed by somebody trusted, or the one that was built here.
fn artefact(from: Option<&str>, access: &AccessFlags) -> Result<Own> {
    let here = Reference::Layout(LayoutReference { path: package::layout_dir(), tag: None, digest: None });
    let (reference, trust) = match from {
        Some(text) => (text.parse()?, access.trust()?),
        None => (here, Trust::BuiltHere),
    };
    let source = Source::open(&reference, &access.access()?)?;
    let resolved = source.resolve(&Platform::current())?;
    let offer = Offer::of(&resolved.manifest, resolved.descriptor.digest, &format!("`{reference}`"))?;
    distribution::vouch(&source, &resolved, &trust)?;
    Ok(Own::Artefact { source: Box::new(source), resolved: Box::new(resolved), offer: Box::new(offer) })
}

/// The active build when it is native, otherwise the newest native one.
fn native() -> Result<Own> {
    let builds = workspace::store().list()?;
    let native = builds.iter().filter(|build| build.id.kind() == build_info::BuildKind::Native);
    let date = |build: &&store::Installed| build.info.as_ref().ok().map(|info| info.date);
    match native.max_by_key(|build| (build.active, date(build))) {
        Some(build) => Ok(Own::Build(Box::new(Contents::look(&build.path, Split::One)?))),
        None => Err(Error::new(codes::NO_SUCH_BUILD, "no native build is installed")
            .hint("`cargo xtask install-optimized` compiles one for this CPU")),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.own {
            Own::Artefact { resolved, offer, .. } => {
                writeln!(f, "image of {}, {}", offer.build_id, offer.platform)?;
                for layer in &resolved.manifest.layers {
                    writeln!(f, "  layer    {} of `{}`, as it is", layer.digest, resolved.reference)?;
                }
            }
            Own::Build(contents) => {
                writeln!(
                    f,
                    "image of {}, {}, for the CPU that it was compiled on",
                    contents.id(),
                    contents.platform()
                )?;
                writeln!(f, "  layer    packed from `{}`", contents.root().display())?;
            }
        }
        for package in self.pins.of(self.kind) {
            writeln!(f, "  base     Debian {} {package}", self.pins.suite)?;
        }
        writeln!(f, "  starts   caravan serve, port {PORT}, as user {USER}")?;
        write!(f, "  written  to the layout {}", workspace::short(self.out.dir()))?;
        if let Some((name, key)) = &self.push {
            let signed = if key.is_some() { "signed" } else { "not signed" };
            write!(f, "\n  pushed   to {name}, {signed}")?;
        }
        Ok(())
    }
}

/// An image that was written.
struct Made {
    image: Image,
    index: Descriptor,
    manifest: Descriptor,
    /// Where it is.
    reference: Reference,
}

impl Made {
    fn compressed(&self) -> u64 {
        self.image.layers.iter().map(|layer| layer.descriptor.size).sum()
    }

    fn to_json(&self) -> String {
        let layer = |layer: &Layer| {
            json!({
                "digest": layer.descriptor.digest.to_string(),
                "diff_id": layer.diff_id.to_string(),
                "bytes": layer.descriptor.size,
                "what": layer.what,
            })
        };
        let value = json!({
            "reference": self.reference.to_string(),
            "digest": self.index.digest.to_string(),
            "manifest": self.manifest.digest.to_string(),
            "layers": self.image.layers.iter().map(layer).collect::<Vec<_>>(),
            "compressed_bytes": self.compressed(),
            "uncompressed_bytes": self.image.uncompressed_size,
        });
        serde_json::to_string_pretty(&value).expect("plain JSON")
    }
}

fn run(plan: &Plan) -> Result<Made> {
    let cache = workspace::store().cache();
    std::fs::create_dir_all(&cache).map_err(|error| Error::io("cannot create", &cache, error))?;
    let _lock = Lock::acquire(&cache.join(".image.lock"), ui::waiting("making an image"))?;
    let (tag, mut made) = (plan.own.version().to_owned(), None);
    let index = plan.out.fill(&tag, |layout| {
        let image = assemble(plan, layout)?;
        let index = image.publish(layout, &tag)?;
        made = Some(image);
        Ok(index)
    })?;
    let image = made.expect("filling a layout makes an image, or fails");
    let layout = Layout::open(plan.out.dir())?;
    let (Document::Index(entries), _) = layout.document(&index)? else {
        return Err(Error::new(codes::MANIFEST_INVALID, format!("{} holds no index of ours", layout.name())));
    };
    let manifest = entries.manifests.into_iter().next().expect("an index of ours has an entry");
    let reference = match &plan.push {
        Some((name, key)) => {
            let pushed = publish::push(&layout, name, key.as_deref())?;
            Reference::Registry(name.clone()).pinned(pushed.digest)
        }
        None => {
            let path = plan.out.dir().to_owned();
            Reference::Layout(LayoutReference { path, tag: None, digest: Some(index.digest) })
        }
    };
    Ok(Made { image, index, manifest, reference })
}

/// Puts all layers into the layout.
fn assemble(plan: &Plan, layout: &Layout) -> Result<Image> {
    let assembled = base::assemble(&plan.pins, plan.kind)?;
    let (own, own_size, annotations, platform) = match &plan.own {
        Own::Artefact { source, resolved, offer } => {
            let work = tempfile::tempdir_in(layout.root().parent().unwrap_or(layout.root()))
                .map_err(|error| Error::io("cannot write in", layout.root(), error))?;
            let unpacked = unpacked::unpack(source, resolved, offer, work.path())?;
            closure::check(&unpacked.tree, &assembled.base)?;
            for layer in &resolved.manifest.layers {
                layout.put_stream(&layer.media_type, &mut unpacked.cache.open_blob(layer)?)?;
            }
            let configuration = source.blob(&resolved.manifest.config, oci::MANIFEST_LIMIT)?;
            let what = offer.build_id.to_string();
            let layers = Layer::of_artefact(&resolved.manifest, &configuration, &what)?;
            (layers, offer.uncompressed_size, resolved.manifest.annotations.clone(), offer.platform.clone())
        }
        Own::Build(contents) => {
            closure::check(contents.root(), &assembled.base)?;
            let packed = contents.pack(layout)?;
            let size = packed.iter().map(|layer| layer.uncompressed_size).sum();
            let what = contents.id().to_string();
            let layers = packed.iter().map(|layer| Layer::packed(layer, &what)).collect();
            (layers, size, contents.annotations(env!("CARGO_PKG_REPOSITORY"), size), contents.platform().clone())
        }
    };
    ui::note("checked   every program finds its libraries in the image");
    let below = assembled.base.pack(assembled.mtime, layout)?;
    let packages: Vec<String> = plan.pins.of(plan.kind).map(ToString::to_string).collect();
    let what = format!("Debian {}: {}", plan.pins.suite, packages.join(", "));
    let mut layers = vec![Layer::packed(&below, what)];
    layers.extend(own);
    for layer in &layers {
        ui::note(format!("layer     {:.2} MB, {}", layer.descriptor.size as f64 / 1e6, layer.what));
    }
    let size: u64 = layers.iter().map(|layer| layer.descriptor.size).sum();
    if size > SIZE_LIMIT {
        let message = format!("the image has {:.1} MB, more than {} MB", size as f64 / 1e6, SIZE_LIMIT / 1_000_000);
        return Err(Error::new(codes::GATE_FAILED, message));
    }
    Ok(Image {
        platform,
        layers,
        uncompressed_size: below.uncompressed_size + own_size,
        annotations,
        base_licences: plan.pins.licences(plan.kind),
    })
}

impl Own {
    /// The version of llama.cpp, which the layout's tag is.
    fn version(&self) -> &str {
        match self {
            Own::Artefact { offer, .. } => &offer.version,
            Own::Build(contents) => &contents.info().llama_version,
        }
    }
}

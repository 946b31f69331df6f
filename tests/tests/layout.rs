//! The shape of the tree, kept: where crates lie, who uses whom, who names tract, where `unsafe` stands.
//!
//! Each rule is a function from a root folder to the list of its offences, so it runs twice: over this repository, and
//! over small trees that break it on purpose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use limbeck_tests::rust_tokens::{Token, tokens};

/// The folders, in the direction of the arrow: each uses itself and those before it.
const FOLDERS: [&str; 5] = ["runtime", "targets", "models", "tools", "tests"];

/// The only crates that may name tract.
const NAMES_TRACT: [&str; 2] = ["runtime/engine", "runtime/adapt"];

/// The only place for `unsafe` in a crate.
const UNSAFE_HOME: &str = "runtime/kernels/src";

/// The one file elsewhere: a plugin of the emulator, whose interface is C. It belongs to no crate; a test compiles it.
const UNSAFE_PLUGIN: &str = "tests/instructions/plugin.rs";

/// What must stand at the top, besides the folders.
const TOP_REQUIRED: [&str; 4] = ["Cargo.toml", "README.md", "ARCHITECTURE.md", "CHANGELOG.md"];

/// What may stand at the top, besides. Names that start with `LICENSE-` too, and what `.gitignore` names.
const TOP_ALLOWED: [&str; 8] =
    ["Cargo.lock", "LICENSE", "rustfmt.toml", "clippy.toml", ".gitignore", ".ci", ".git", "target"];

/// Lines at which a file is too long to be one idea.
const TOO_MANY_LINES: usize = 1000;

type Offences = Vec<String>;
type Rule = fn(&Path) -> Offences;

// ── The rules ────────────────────────────────────────────────────────────────────────────────────────────────────

/// 1. A crate uses crates of its own folder and of folders to its left; in tests and build scripts too.
fn arrow(root: &Path) -> Offences {
    let mut offences = Vec::new();
    let crates = crates(root, &mut offences);
    let folder_of: BTreeMap<&str, &str> = crates.iter().map(|c| (c.name.as_str(), c.folder)).collect();
    let rank = |folder: &str| FOLDERS.iter().position(|f| *f == folder);
    for user in &crates {
        for used in user.dependencies.iter().filter(|name| name.starts_with("limbeck-")) {
            match folder_of.get(used.as_str()) {
                None => offences.push(format!("{}: depends on {used}, which is no crate of this workspace", user.path)),
                Some(folder) if rank(folder) > rank(user.folder) => {
                    let arrow = FOLDERS.join(" ← ");
                    offences.push(format!("{}: depends on {used} in {folder}; the arrow is {arrow}", user.path));
                }
                Some(_) => {}
            }
        }
    }
    offences
}

/// 2. Two crates name tract, in manifests and sources; the workspace pins it exactly.
fn tract(root: &Path) -> Offences {
    let mut offences = Vec::new();
    let is_tract = |name: &str| name == "tract" || name.starts_with("tract-") || name.starts_with("tract_");
    for user in crates(root, &mut offences) {
        if !NAMES_TRACT.contains(&user.path.as_str()) {
            let named = user.dependencies.iter().filter(|name| is_tract(name));
            offences.extend(named.map(|name| format!("{}/Cargo.toml: depends on {name}", user.path)));
        }
    }
    for (path, text) in rust_files(root, &mut offences) {
        if NAMES_TRACT.iter().any(|home| path.starts_with(&format!("{home}/"))) {
            continue;
        }
        let tokens = tokens(&text);
        for (i, token) in tokens.iter().enumerate() {
            let follows = |offset: usize, text: &str| tokens.get(i + offset).is_some_and(|t| t.text == text);
            let before = i.checked_sub(1).map_or("", |i| tokens[i].text.as_str());
            let is_path = follows(1, ":") && follows(2, ":");
            if is_tract(&token.text) && (is_path || before == "use" || before == "crate") {
                offences.push(format!("{path}:{}: names {}; go through limbeck-engine", token.line, token.text));
            }
        }
    }
    if let Some(manifest) = manifest(&root.join("Cargo.toml"), &mut offences) {
        let shared = manifest.get("workspace").and_then(|w| w.get("dependencies")).and_then(|d| d.as_table());
        for (name, value) in shared.into_iter().flatten().filter(|(name, _)| is_tract(name)) {
            let version = value.as_str().or_else(|| value.get("version").and_then(|v| v.as_str())).unwrap_or("");
            if !version.starts_with('=') {
                offences
                    .push(format!("Cargo.toml: {name} = {version:?} is not pinned; its internals move, write \"=…\""));
            }
        }
    }
    offences
}

/// 3. `unsafe` stands in one folder, and in one file that is no part of a crate; every other crate forbids it at its root.
fn unsafe_code(root: &Path) -> Offences {
    let mut offences = Vec::new();
    for (path, text) in rust_files(root, &mut offences) {
        if !path.starts_with(&format!("{UNSAFE_HOME}/")) && path != UNSAFE_PLUGIN {
            let found = tokens(&text).into_iter().filter(|token| token.text == "unsafe");
            offences.extend(found.map(|t| format!("{path}:{}: `unsafe` outside {UNSAFE_HOME}", t.line)));
        }
    }
    for c in crates(root, &mut offences) {
        let src = root.join(&c.path).join("src");
        let mut roots: Vec<PathBuf> = ["lib.rs", "main.rs"].iter().map(|name| src.join(name)).collect();
        roots.extend(entries(&src.join("bin")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")));
        roots.retain(|path| path.is_file());
        for file in roots {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let code: String = tokens(&text).into_iter().map(|t: Token| t.text).collect();
            let is_home = format!("{}/src", c.path) == UNSAFE_HOME;
            let level = if is_home { "deny" } else { "forbid" };
            let kept = code.contains("#![forbid(unsafe_code)]") || (is_home && code.contains("#![deny(unsafe_code)]"));
            if !kept {
                offences.push(format!("{}: begin with #![{level}(unsafe_code)]", relative(root, &file)));
            }
        }
    }
    offences
}

/// 4. At the top stands what a stranger expects, and nothing else.
fn top_level(root: &Path) -> Offences {
    let names: Vec<String> = entries(root).iter().map(|path| relative(root, path)).collect();
    let ignored = Ignored::read(root);
    let expected = |name: &str| {
        FOLDERS.contains(&name)
            || TOP_REQUIRED.contains(&name)
            || TOP_ALLOWED.contains(&name)
            || name.starts_with("LICENSE-")
            || ignored.matches(name)
    };
    let extra = names.iter().filter(|name| !expected(name));
    let missing = TOP_REQUIRED.iter().filter(|name| !names.iter().any(|n| n == *name));
    let extra = extra.map(|name| format!("{name}: not expected at the top; put it into one of {FOLDERS:?}"));
    extra.chain(missing.map(|name| format!("{name}: missing at the top"))).collect()
}

/// 5. Crates lie one level deep (`tests` is one itself) and are named `limbeck-` and their folder's name.
fn crate_places(root: &Path) -> Offences {
    let mut offences = Vec::new();
    for c in crates(root, &mut offences) {
        let last = c.path.rsplit('/').next().unwrap_or_default();
        if c.name != format!("limbeck-{last}") {
            offences.push(format!("{}/Cargo.toml: package {:?} should be \"limbeck-{last}\"", c.path, c.name));
        }
    }
    for path in walk(root).iter().map(|path| relative(root, path)) {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        let parts: Vec<&str> = folder.split('/').collect();
        let in_place = match parts[..] {
            [only] => only == "tests",
            [group, _] => FOLDERS.contains(&group) && group != "tests",
            _ => false,
        };
        if !in_place {
            offences.push(format!("{folder}: a crate here is not one level deep in {:?}", &FOLDERS[..4]));
        }
    }
    offences
}

/// 6. No file is too long.
fn file_lengths(root: &Path) -> Offences {
    let mut offences = Vec::new();
    for (path, text) in rust_files(root, &mut offences) {
        let lines = text.lines().count();
        if lines >= TOO_MANY_LINES {
            offences.push(format!("{path}: {lines} lines; below {TOO_MANY_LINES}, please: one idea a file"));
        }
    }
    offences
}

// ── Reading a tree ───────────────────────────────────────────────────────────────────────────────────────────────

/// A member of the workspace, as its manifest says.
struct Crate {
    /// "runtime/engine".
    path: String,
    /// One of [`FOLDERS`].
    folder: &'static str,
    /// Package name.
    name: String,
    /// Package names of all dependencies: plain, dev, build, and per target.
    dependencies: Vec<String>,
}

fn crates(root: &Path, offences: &mut Offences) -> Vec<Crate> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let here = root.join(folder);
        for dir in entries(&here).into_iter().chain([here]).filter(|dir| dir.join("Cargo.toml").is_file()) {
            let Some(manifest) = manifest(&dir.join("Cargo.toml"), offences) else { continue };
            let package = manifest.get("package").and_then(|p| p.get("name"));
            let name = package.and_then(|n| n.as_str()).unwrap_or_default().to_owned();
            let mut dependencies = dependencies_in(&manifest);
            for per_target in manifest.get("target").and_then(|t| t.as_table()).into_iter().flatten() {
                dependencies.extend(per_target.1.as_table().map(dependencies_in).unwrap_or_default());
            }
            found.push(Crate { path: relative(root, &dir), folder, name, dependencies });
        }
    }
    found
}

fn dependencies_in(table: &toml::Table) -> Vec<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let listed = kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()).flatten();
    let renamed =
        |(key, value): (&String, &toml::Value)| value.get("package").and_then(|p| p.as_str()).unwrap_or(key).to_owned();
    listed.map(renamed).collect()
}

fn manifest(path: &Path, offences: &mut Offences) -> Option<toml::Table> {
    let parsed = std::fs::read_to_string(path).map_err(|e| e.to_string());
    match parsed.and_then(|text| text.parse::<toml::Table>().map_err(|e| e.to_string())) {
        Ok(table) => Some(table),
        Err(e) => {
            offences.push(format!("{}: {e}", path.display()));
            None
        }
    }
}

/// Path below `root`, and text, of every Rust file.
fn rust_files(root: &Path, offences: &mut Offences) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for path in walk(root).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push((relative(root, &path), text)),
            Err(e) => offences.push(format!("{}: {e}", relative(root, &path))),
        }
    }
    files
}

/// Every file of the five folders, build products and ignored files left out.
fn walk(root: &Path) -> Vec<PathBuf> {
    let ignored = Ignored::read(root);
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            match path.is_dir() && !path.is_symlink() {
                _ if name == "target" || ignored.matches(&name) => {}
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Names and `*` suffixes in `.gitignore`: the part of its language that this repository uses.
struct Ignored(Vec<String>);

impl Ignored {
    fn read(root: &Path) -> Ignored {
        let text = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let lines = text.lines().map(|line| line.trim().trim_matches('/').to_owned());
        Ignored(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect())
    }

    fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(suffix) => name.ends_with(suffix),
            None => name == pattern,
        })
    }
}

// ── This repository ──────────────────────────────────────────────────────────────────────────────────────────────

fn check_here(rule: Rule) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("`tests` lies in the workspace");
    let offences = rule(here);
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn the_arrow_points_one_way() {
    check_here(arrow);
}

#[test]
fn only_engine_and_adapt_name_tract() {
    check_here(tract);
}

#[test]
fn unsafe_stands_in_kernels_only() {
    check_here(unsafe_code);
}

#[test]
fn the_top_holds_what_a_stranger_expects() {
    check_here(top_level);
}

#[test]
fn crates_lie_one_level_deep() {
    check_here(crate_places);
}

#[test]
fn no_file_is_too_long() {
    check_here(file_lengths);
}

// ── Trees that break a rule ──────────────────────────────────────────────────────────────────────────────────────

const RULES: [(&str, Rule); 6] = [
    ("arrow", arrow),
    ("tract", tract),
    ("unsafe_code", unsafe_code),
    ("top_level", top_level),
    ("crate_places", crate_places),
    ("file_lengths", file_lengths),
];

/// A small tree that keeps every rule; the cases below write over it.
fn good_tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let member = |path: &str, dependencies: &str, source: &str| {
        let name = path.rsplit('/').next().unwrap();
        write(
            dir.path(),
            &format!("{path}/Cargo.toml"),
            &format!("[package]\nname = \"limbeck-{name}\"\n{dependencies}"),
        );
        write(dir.path(), &format!("{path}/src/lib.rs"), source);
    };
    for name in TOP_REQUIRED {
        write(dir.path(), name, "");
    }
    write(dir.path(), "LICENSE-MIT", "");
    write(dir.path(), ".gitignore", "/notes/\n*.tmp\n");
    write(dir.path(), "notes/a.rs", "unsafe {}");
    write(dir.path(), "Cargo.toml", "[workspace.dependencies]\ntract-core = \"=0.23.9\"\n");
    let forbid = "//! unsafe in words.\n#![forbid(unsafe_code)]\n";
    member("runtime/kernels", "", "#![deny(unsafe_code)]\nunsafe fn f() {}");
    member("runtime/engine", "[dependencies]\ntract-core.workspace = true\nlimbeck-kernels.workspace = true\n", {
        "#![forbid(unsafe_code)]\nuse tract_core::prelude::*;"
    });
    member(
        "targets/boards",
        "",
        &format!("{forbid}const A: &str = \"unsafe {{ use tract_core; }}\"; // tract_core::x"),
    );
    member("models/data", "[dependencies]\nlimbeck-engine.workspace = true\n", forbid);
    member(
        "tools/cli",
        "[dependencies]\nlimbeck-data.workspace = true\n",
        &format!("{forbid}fn f(tract_version: u8) {{}}"),
    );
    member("tests", "[dev-dependencies]\nlimbeck-cli.workspace = true\n", forbid);
    write(dir.path(), "target/debug/build/x.rs", "unsafe {}");
    write(dir.path(), UNSAFE_PLUGIN, "fn f() { unsafe {} }");
    dir
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// One file that breaks one rule: the rule names the file, the other rules stay content.
fn breaks(rule: &str, path: &str, text: &str, named: &str) {
    let tree = good_tree();
    write(tree.path(), path, text);
    for (name, check) in RULES {
        let offences = check(tree.path());
        if name == rule {
            assert!(offences.iter().any(|o| o.contains(named)), "{rule}: {path}: {offences:?}");
        } else {
            assert!(offences.is_empty(), "{name} minds {path}: {offences:?}");
        }
    }
}

#[test]
fn a_good_tree_has_no_offences() {
    let tree = good_tree();
    for (name, check) in RULES {
        assert_eq!(check(tree.path()), Offences::new(), "{name}");
    }
}

#[test]
fn a_crate_that_uses_a_later_folder_is_found() {
    let package = "[package]\nname = \"limbeck-boards\"\n";
    let kinds = [
        "[dependencies]\nlimbeck-data.workspace = true",
        "[dev-dependencies]\nlimbeck-cli = { path = \"../../tools/cli\" }",
        "[build-dependencies]\nlimbeck-tests = { workspace = true }",
        "[target.'cfg(unix)'.dependencies]\nlimbeck-data.workspace = true",
        "[dependencies]\ndata = { package = \"limbeck-data\", path = \"../../models/data\" }",
        "[dependencies]\nlimbeck-nothing.workspace = true",
    ];
    for kind in kinds {
        breaks(
            "arrow",
            "targets/boards/Cargo.toml",
            &format!("{package}{kind}\n"),
            "targets/boards: depends on limbeck-",
        );
    }
}

#[test]
fn naming_tract_elsewhere_is_found() {
    let package = "[package]\nname = \"limbeck-data\"\n";
    let manifest = |line: &str| format!("{package}[dependencies]\n{line}\n");
    breaks("tract", "models/data/Cargo.toml", &manifest("tract-onnx.workspace = true"), "models/data");
    breaks("tract", "models/data/Cargo.toml", &manifest("t = { package = \"tract-core\" }"), "models/data");
    for code in
        ["use tract_core as t;", "fn f() { tract_onnx::onnx(); }", "extern crate tract_linalg;", "use tract::x;"]
    {
        breaks("tract", "models/data/src/a.rs", code, "models/data/src/a.rs:1");
    }
    for version in ["\"0.23.9\"", "{ version = \"0.23\", features = [] }", "{ path = \"x\" }"] {
        let shared = format!("[workspace.dependencies]\ntract-core = {version}\n");
        breaks("tract", "Cargo.toml", &shared, "tract-core");
    }
}

#[test]
fn unsafe_elsewhere_is_found() {
    for code in ["fn f() { unsafe { g() } }", "unsafe fn f() {}", "\nunsafe impl Send for X {}", "#[unsafe(no_mangle)]"]
    {
        breaks("unsafe_code", "models/data/src/a.rs", code, "models/data/src/a.rs:");
    }
    breaks("unsafe_code", "tests/instructions/other.rs", "fn f() { unsafe {} }", "tests/instructions/other.rs:1");
    breaks("unsafe_code", "models/data/tests/a.rs", "fn f() { unsafe {} }", "models/data/tests/a.rs:1");
    breaks("unsafe_code", "models/data/src/lib.rs", "//! #![forbid(unsafe_code)]", "models/data/src/lib.rs: begin");
    breaks("unsafe_code", "tools/cli/src/bin/b.rs", "fn main() {}", "tools/cli/src/bin/b.rs: begin");
    breaks("unsafe_code", "runtime/kernels/src/lib.rs", "", "deny(unsafe_code)");
}

#[test]
fn a_stray_top_level_entry_is_found() {
    breaks("top_level", "scripts/run.sh", "", "scripts: not expected");
    breaks("top_level", "todo.txt", "", "todo.txt");
    let tree = good_tree();
    std::fs::remove_file(tree.path().join("README.md")).unwrap();
    assert_eq!(top_level(tree.path()), ["README.md: missing at the top"]);
}

#[test]
fn a_misplaced_or_misnamed_crate_is_found() {
    breaks("crate_places", "models/data/deep/Cargo.toml", "[package]\nname = \"limbeck-deep\"", "models/data/deep");
    breaks("crate_places", "tests/more/Cargo.toml", "[package]\nname = \"limbeck-more\"", "tests/more");
    breaks("crate_places", "targets/boards/Cargo.toml", "[package]\nname = \"boards\"", "should be \"limbeck-boards\"");
}

#[test]
fn a_long_file_is_found() {
    breaks("file_lengths", "models/data/src/long.rs", &"// line\n".repeat(1000), "long.rs: 1000 lines");
    let tree = good_tree();
    write(tree.path(), "models/data/src/long.rs", &"// line\n".repeat(999));
    assert!(file_lengths(tree.path()).is_empty());
}

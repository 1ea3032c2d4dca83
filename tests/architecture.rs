//! Holds the code against the plan of the house: which room may name which, and how files look.
//!
//! A room is a top-level module. Sources are read as Rust tokens, so that comments and strings are no imports and a path
//! inside a macro call is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A room names rooms of lower levels only.
const LEVELS: &[(u8, &[&str])] = &[
    (0, &["proto"]),
    (1, &["rpc", "error", "file", "rule"]),
    (2, &["call", "stack", "telemetry"]),
    (3, &["connect", "follow", "store"]),
    (4, STAGES),
    (5, &["front", "upstream"]),
    (6, &["gateway"]),
    (7, &["server", "sandbox"]),
    (8, &["admin", "config"]),
    (9, &["app"]),
    (10, &["cli", "lib", "main"]),
];

/// They share a level, and so never name each other but for [`PERMITTED`]: what one needs of another travels in the call.
const STAGES: &[&str] = &["identity", "policy", "limit", "budget", "audit"];

/// The proof that a call was checked: all that a stage below `policy`, and the upstream client, may know of the stages.
const PERMITTED: [&str; 2] = ["policy", "Permitted"];

/// Longer files are hard to hold in the head.
const MAX_LINES: usize = 450;

/// The only file that includes generated code.
const GENERATED: &str = "src/proto.rs";

/// A path as the code has it, without `crate`: `["policy", "Permitted"]`.
type ItemPath = Vec<String>;

#[test]
fn rooms_name_only_lower_rooms() -> io::Result<()> {
    let found = check_all("src", check_imports)?;
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn every_room_is_in_the_table() -> io::Result<()> {
    let built: BTreeSet<String> =
        sources("src")?.keys().filter_map(|file| room_of(file)).map(str::to_owned).collect();
    let table: BTreeSet<&str> = LEVELS.iter().flat_map(|(_, rooms)| *rooms).copied().collect();
    for room in &built {
        assert!(table.contains(room.as_str()), "room `{room}` has no level");
    }
    for room in table {
        assert!(built.contains(room), "level for `{room}`, which is no room");
    }
    Ok(())
}

#[test]
fn files_keep_the_house_style() -> io::Result<()> {
    let mut found = check_all("src", check_file)?;
    found.extend(check_all("src", check_panics)?);
    for directory in ["tests", "benches"] {
        found.extend(check_all(directory, check_file)?);
    }
    found.extend(check_file("build.rs", &fs::read_to_string(root().join("build.rs"))?));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn a_forbidden_import_is_found() {
    for (file, source) in [
        ("src/error.rs", "use crate::call::Call;"),
        ("src/rpc/facts.rs", "use crate::error::Error;"),
        ("src/policy/rules.rs", "use crate::limit;"),
        ("src/audit.rs", "use crate::policy::{Permitted, Stricter};"),
        ("src/call.rs", "use crate::policy::Permitted;"),
        ("src/audit.rs", "use crate::{call::{Call, Reply}, identity::api_key::Key};"),
        ("src/limit.rs", "fn f() -> super::audit::Record { todo!() }"),
        ("src/limit/local.rs", "use super::super::policy::Rule;"),
        ("src/call.rs", "fn f() { tracing::info!(at = ?crate::gateway::now()); }"),
        ("src/front.rs", "use crate::upstream::Client as _;"),
        ("src/upstream/client.rs", "use crate::policy::{Permitted, Rule};"),
        ("src/upstream.rs", "use crate::audit::Intent;"),
        ("src/upstream.rs", "use crate::policy::*;"),
        ("src/gateway.rs", "pub(crate) use crate::attic::Thing;"),
        ("src/config.rs", "use prebuild_gateway::app::App;"),
    ] {
        assert!(!check_imports(file, source).is_empty(), "{file}: {source}");
    }
}

#[test]
fn an_allowed_import_passes() {
    for (file, source) in [
        ("src/call.rs", "use crate::{error::Error, rpc::{self, Facts}};"),
        ("src/policy/rules.rs", "use crate::policy::document::Document; use super::validate;"),
        ("src/policy/rules/size.rs", "use super::super::document::Document;"),
        ("src/upstream.rs", "use crate::policy::Permitted; fn f(p: crate::policy::Permitted) {}"),
        ("src/upstream.rs", "use crate::{policy::{Permitted}, call::Call};"),
        ("src/audit.rs", "use crate::{call::Call, policy::Permitted, stack::Stage};"),
        ("src/error.rs", "// use crate::call::Call;\nconst TEXT: &str = \"crate::call::Call\";"),
        ("src/error.rs", "pub(crate) struct Inner;"),
        ("src/main.rs", "use prebuild_gateway::cli;"),
        ("src/limit/tests.rs", "use crate::{audit, policy, gateway};"),
        ("src/limit/tests/race.rs", "use crate::gateway;"),
    ] {
        assert_eq!(check_imports(file, source), Vec::<String>::new(), "{file}: {source}");
    }
}

#[test]
fn a_file_out_of_style_is_found() {
    let long = format!("//! Long.\n{}", "\n".repeat(MAX_LINES));
    for (file, source) in [
        ("src/a.rs", "use std::fmt;"),
        ("src/a.rs", long.as_str()),
        ("src/a/mod.rs", "//! A."),
        ("src/a.rs", "//! A.\ninclude!(concat!(env!(\"OUT_DIR\"), \"/a.rs\"));"),
        ("src/a.rs", "//! A.\ntonic::include_proto!(\"a\");"),
    ] {
        assert_eq!(check_file(file, source).len(), 1, "{file}: {source}");
    }
    assert_eq!(check_panics("src/a.rs", "fn f() { g().unwrap(); h(b.c().expect(\"x\")) }").len(), 2);
    assert_eq!(
        check_panics("src/a.rs", "fn f() { g().unwrap_or(1); /* .unwrap() */ }"),
        Vec::<String>::new()
    );
    assert_eq!(check_panics("src/a/tests.rs", "fn f() { g().unwrap(); }"), Vec::<String>::new());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a directory, as `src/policy/rules.rs` -> text. A directory that is not there has none.
fn sources(directory: &str) -> io::Result<BTreeMap<String, String>> {
    let (mut files, mut queue) = (BTreeMap::new(), vec![PathBuf::from(directory)]);
    while let Some(place) = queue.pop() {
        let full = root().join(&place);
        if full.is_dir() {
            for entry in fs::read_dir(full)? {
                queue.push(place.join(entry?.file_name()));
            }
        } else if place.extension().is_some_and(|extension| extension == "rs") {
            files.insert(place.to_string_lossy().into_owned(), fs::read_to_string(full)?);
        }
    }
    Ok(files)
}

fn check_all(directory: &str, check: fn(&str, &str) -> Vec<String>) -> io::Result<Vec<String>> {
    Ok(sources(directory)?.iter().flat_map(|(file, source)| check(file, source)).collect())
}

/// The modules that a file stands for: `src/policy/rules.rs` is `policy::rules`.
fn modules_of(file: &str) -> Vec<&str> {
    file.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect()
}

fn room_of(file: &str) -> Option<&str> {
    modules_of(file).first().copied()
}

fn level_of(room: &str) -> Option<u8> {
    LEVELS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(level, _)| *level)
}

/// Tests may reach across the house.
fn is_test(file: &str) -> bool {
    modules_of(file).contains(&"tests")
}

fn check_imports(file: &str, source: &str) -> Vec<String> {
    if is_test(file) {
        return Vec::new();
    }
    let Ok(tokens) = source.parse::<TokenStream>() else {
        return vec![format!("{file}: cannot be read as Rust")];
    };
    let modules = modules_of(file);
    let room = modules[0];
    let mut paths = Vec::new();
    collect_paths(tokens, modules.len(), &mut paths);
    paths.iter().filter_map(|path| complaint(room, path)).map(|text| format!("{file}: {text}")).collect()
}

/// What is wrong with a room naming this path.
fn complaint(room: &str, path: &ItemPath) -> Option<String> {
    let target = path.first()?.as_str();
    let named = path.join("::");
    // The crate's own roots put the rooms together.
    if target == room || matches!(room, "lib" | "main") {
        return None;
    }
    let (Some(own), Some(other)) = (level_of(room), level_of(target)) else {
        return Some(format!("`{named}` is in no room of the table"));
    };
    let proof = path.iter().take(2).eq(PERMITTED);
    if own <= other && !(proof && STAGES.contains(&room)) {
        return Some(format!(
            "`{named}` is level {other}, and `{room}` is level {own}: import only downward"
        ));
    }
    if room == "upstream" && STAGES.contains(&target) && !proof {
        return Some(format!("`{named}`: upstream names of the stages only `{}`", PERMITTED.join("::")));
    }
    None
}

/// Every path that starts at the crate's root, however it is written: `crate::`, enough `super::`, or the crate's name.
fn collect_paths(tokens: TokenStream, depth: usize, found: &mut Vec<ItemPath>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let TokenTree::Group(group) = &tokens[at] {
            collect_paths(group.stream(), depth, found);
        }
        let mut next = at + 1;
        match word(&tokens[at]).as_deref() {
            Some("crate" | "prebuild_gateway") if is_separator(&tokens, next) => {
                expand(&tokens[next + 2..], &[], found);
            }
            Some("super") => {
                let mut supers = 1;
                while is_separator(&tokens, next)
                    && tokens.get(next + 2).and_then(word).as_deref() == Some("super")
                {
                    (supers, next) = (supers + 1, next + 3);
                }
                if supers == depth && is_separator(&tokens, next) {
                    expand(&tokens[next + 2..], &[], found);
                }
            }
            _ => {}
        }
        at = next;
    }
}

/// Reads what follows a `::`: names, a `*`, or a list in braces whose members are paths again.
fn expand(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<ItemPath>) {
    let mut path = prefix.to_vec();
    match tokens.first() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let members: Vec<TokenTree> = group.stream().into_iter().collect();
            for member in
                members.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','))
            {
                expand(member, prefix, found);
            }
        }
        Some(first) => {
            path.push(first.to_string());
            if is_separator(tokens, 1)
                && matches!(tokens.get(3), Some(TokenTree::Ident(_) | TokenTree::Group(_)))
            {
                expand(&tokens[3..], &path, found);
            } else if is_separator(tokens, 1) {
                path.push("*".to_owned());
                found.push(path);
            } else {
                found.push(path);
            }
        }
        None => {}
    }
}

fn word(token: &TokenTree) -> Option<String> {
    if let TokenTree::Ident(ident) = token { Some(ident.to_string()) } else { None }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon =
        |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

fn check_file(file: &str, source: &str) -> Vec<String> {
    let lines = source.lines().count();
    let generated = ["\"OUT_DIR\"", "include_proto!", "include!("].iter().any(|mark| source.contains(mark));
    let include = generated && file.starts_with("src/") && file != GENERATED;
    [
        (!source.starts_with("//! "), "does not open with `//!`".to_owned()),
        (lines > MAX_LINES, format!("has {lines} lines, more than {MAX_LINES}")),
        (file.ends_with("/mod.rs"), "is a mod.rs; name it after its module".to_owned()),
        (include, format!("includes generated code; only {GENERATED} does")),
    ]
    .into_iter()
    .filter_map(|(wrong, text)| wrong.then(|| format!("{file} {text}")))
    .collect()
}

/// Nothing may panic on input. Clippy says so too, but can be silenced line by line.
fn check_panics(file: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let (false, Ok(tokens)) = (is_test(file), source.parse()) {
        collect_panics(tokens, &mut found);
    }
    found.iter().map(|call| format!("{file} calls .{call}()")).collect()
}

fn collect_panics(tokens: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for window in tokens.windows(3) {
        if let [TokenTree::Punct(dot), name, TokenTree::Group(_)] = window
            && dot.as_char() == '.'
            && let Some(name) = word(name).filter(|name| name == "unwrap" || name == "expect")
        {
            found.push(name);
        }
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            collect_panics(group.stream(), found);
        }
    }
}

//! The README says what is so.

use std::{fs, io};

use prebuild_gateway::{
    config::Config,
    error::{Reason, code_name},
};

fn readme() -> io::Result<String> {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    text.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_error_table_has_every_reason_with_its_code_in_order() {
    let readme = readme().unwrap();
    let rows: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(reason, rest)| Some((reason, rest.split_once(" | ")?.0)))
        .filter(|(reason, _)| reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
        .collect();
    let reasons: Vec<_> =
        Reason::ALL.iter().map(|reason| (reason.as_str(), code_name(reason.code()))).collect();
    assert_eq!(rows, reasons);
}

#[test]
fn the_configuration_is_one() {
    let blocks = blocks(&readme().unwrap(), "toml");
    assert_eq!(blocks.len(), 1);
    let config = Config::parse(&blocks[0]).unwrap();
    let token = |name: &str| (name == "ACME_UPSTREAM_TOKEN").then(|| "token".to_owned());
    config.resolve(&token).unwrap();
}

#[test]
fn files_that_it_links_are_there() {
    let readme = readme().unwrap();
    let links: Vec<_> = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(!links.is_empty());
    for link in links {
        let path = format!("{}/{link}", env!("CARGO_MANIFEST_DIR"));
        assert!(fs::exists(&path).unwrap(), "{link}");
    }
}

/// A row is only worth something if its example runs.
#[test]
fn every_clients_example_is_run() {
    let readme = readme().unwrap();
    let section = readme.split("## Your client").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 9, "{rows:?}");
    let file = |name: &str| fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (python, others) = (file("tests/run"), file("tests/interop/run"));
    let others = others.lines().find_map(|line| line.strip_prefix("ALL=(")).unwrap().to_owned();
    for row in rows {
        let link = row.split("](tests/interop/").nth(1).and_then(|rest| rest.split(')').next()).expect(row);
        let directory = link.split_once('/').map_or("", |(directory, _)| directory);
        let is_run = match directory {
            // pytest finds what is in the folder itself and in those below.
            "" | "python_gen2" => python.contains("tests/interop/pytest.ini tests/interop\n"),
            "python_gen1" => python.contains("tests/interop/python_gen1"),
            directory => others.split(|c: char| !c.is_alphanumeric()).any(|name| name == directory),
        };
        assert!(is_run, "{link}");
    }
}

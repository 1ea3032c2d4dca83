//! Files of rules that do not load, each with the line that says why: its own first line.

use std::{fs, path::Path};

use super::*;

fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mistakes = Rules::compile(&files, Otherwise::Permit, &orgs()).map(|_| ()).unwrap_err();
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bad_file_says_in_one_line_what_is_wrong() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-policies/rules");
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().unwrap().trim_start_matches("// ").to_owned();
        let said =
            match Rules::compile(&[("rules.cedar".to_owned(), text.clone())], Otherwise::Permit, &orgs()) {
                Ok(_) => "(it loads)".to_owned(),
                Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
            };
        if said != expected {
            wrong.push(format!("{name}\n  expected {expected}\n  said     {said}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(count >= 25, "{count}");
}

#[test]
fn every_mistake_is_told_at_once() {
    let good = "@id(\"good\")\nforbid(principal, action, resource);\n";
    let one =
        format!("{good}\n@id(\"a\") forbid(principal, action, resource) when {{ context.huor > 1 }};\n");
    let other = "forbid(principal, action, resource);\n@id(\"good\") permit(principal, action, resource);";
    assert_eq!(
        mistakes(&[("one.cedar", &one), ("other.cedar", other)])
            .iter()
            .map(|m| m.split(": ").next().unwrap())
            .collect::<Vec<_>>(),
        ["other.cedar:1", "other.cedar:2", "one.cedar:4"]
    );
}

#[test]
fn there_are_bounds() {
    let rule = |index: usize| format!("@id(\"r{index}\") forbid(principal, action, resource);\n");
    let many: String = (0..257).map(rule).collect();
    assert_eq!(
        mistakes(&[("many.cedar", &many)]),
        ["many.cedar:257: rule `r256`: there are more than 256 rules"]
    );
    let most: String = (0..256).map(rule).collect();
    compiled(&most, Otherwise::Permit);
    let large = format!("// {}\n", "x".repeat(200 * 1024));
    assert_eq!(
        mistakes(&[("a.cedar", &large), ("b.cedar", &large)]),
        ["b.cedar: the rules have more than 262144 bytes"]
    );
}

/// What would take the stack of whoever reads it.
#[test]
fn a_bomb_is_no_rule() {
    let within =
        |condition: &str| format!("@id(\"b\") forbid(principal, action, resource) when {{ {condition} }};");
    for condition in [
        format!("{}true{}", "(".repeat(50_000), ")".repeat(50_000)),
        "[".repeat(100_000),
        "!".repeat(100_000),
        vec!["true"; 30_000].join("&&"),
        format!("{}true", "if true then true else ".repeat(10_000)),
        format!("context{}", ".a".repeat(100_000)),
        format!("{}1 == 1", "-".repeat(100_000)),
    ] {
        let told = mistakes(&[("b.cedar", &within(&condition))]);
        assert!(told.len() == 1 && told[0].starts_with("b.cedar:1: rule `b`: has more than"), "{told:?}");
    }
}

#[test]
fn strings_and_comments_end_no_rule() {
    let text = "// a ; comment \"\n@id(\"a\") @message(\"one; \\\" two // three\") // four;\nforbid(principal, action, resource) /;";
    assert_eq!(mistakes(&[("a.cedar", text)]).len(), 1);
    let rules = rules(&text.replace(" /;", " // end;\n;  // last"));
    assert_eq!(rules.ids().map(RuleId::as_str).collect::<Vec<_>>(), ["rules.a"]);
}

#[test]
fn nothing_panics_on_any_text() {
    let text = include_str!("../../../../deploy/policy/rules.example.cedar");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(331) {
        let _ =
            Rules::compile(&[("cut.cedar".to_owned(), text[..end].to_owned())], Otherwise::Permit, &orgs());
        let rest = format!("\"{}\\", &text[end..]);
        let _ = Rules::compile(&[("cut.cedar".to_owned(), rest)], Otherwise::Permit, &orgs());
    }
}

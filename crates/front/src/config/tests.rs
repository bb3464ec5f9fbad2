//! Laws of the configuration.

use std::io::Write;

use super::*;

const GOOD: &str = r#"
nodes = ["node-1.example.org:7400", "10.0.0.2"]
[cluster]
id = "5b0cd1f0-6f0c-4d36-9a9b-3f6f3c1d2e4f"
[listen]
client = "127.0.0.1:0"
monitor = "127.0.0.1:0"
[tls]
certificate = "f.pem"
key = "/k.pem"
ca = "ca.pem"
"#;

fn load(text: &str, overrides: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(&Sources {
        file: Some(file.path().to_owned()),
        overrides: overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    })
}

fn refusal(text: &str, overrides: &[(&str, &str)]) -> String {
    load(text, overrides).expect_err("must be refused").to_string()
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let text = format!("{GOOD}\n[limits]\nconections = 5\n");
    assert!(refusal(&text, &[]).contains("conections"));
}

#[test]
fn a_text_that_is_no_address_is_refused() {
    assert!(refusal(GOOD, &[("nodes", "https://a:1")]).starts_with("nodes"));
    assert!(refusal(GOOD, &[("nodes", " , ")]).starts_with("nodes"));
}

#[test]
fn a_bound_that_lets_nothing_through_is_refused() {
    for (key, value) in [
        ("limits.requests", "0"),
        ("limits.connections", "0"),
        ("limits.request_bytes", "1000"),
        ("limits.answer_bytes", "1000"),
        ("limits.streams_per_connection", "0"),
        ("limits.connections_per_node", "0"),
        ("limits.idle_ms", "0"),
        ("limits.stall_ms", "0"),
        ("drain.patience_ms", "0"),
    ] {
        assert!(refusal(GOOD, &[(key, value)]).starts_with(key), "{key}");
    }
}

#[test]
fn flags_win_over_the_file_and_paths_are_anchored_to_it() {
    let config = load(GOOD, &[("nodes", "a:1, b:2"), ("drain.lead_ms", "0")]).unwrap();
    assert_eq!(config.nodes, ["a:1", "b:2"]);
    assert_eq!(config.drain.lead_ms, 0);
    assert!(config.tls.certificate.is_absolute());
    assert_eq!(config.tls.key, PathBuf::from("/k.pem"));
}

#[test]
fn the_example_names_every_key_and_what_it_comments_out_are_the_defaults() {
    let example = include_str!("../../../../deploy/strongroom-front.toml");
    let uncommented = |line| match str::strip_prefix(line, '#') {
        Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase()) => key,
        _ => line,
    };
    let spelt_out = example.lines().map(uncommented).collect::<Vec<&str>>().join("\n");
    let shown = format!("{:?}", load(example, &[]).unwrap());
    assert_eq!(shown, format!("{:?}", load(&spelt_out, &[]).unwrap()));
    for key in shown.split_whitespace().filter_map(|word| word.strip_suffix(':')) {
        let is_there = |sign| spelt_out.contains(&format!("{key}{sign}"));
        assert!(is_there(" = ") || is_there("]"), "{key} is missing in the example");
    }
}

//! Laws of the configuration.

use std::io::Write;

use super::*;

const GOOD: &str = r#"
data_dir = "data"
[node]
id = 2
[cluster]
id = "5b0cd1f0-6f0c-4d36-9a9b-3f6f3c1d2e4f"
[[cluster.members]]
id = 1
address = "127.0.0.1:7411"
[[cluster.members]]
id = 2
address = "127.0.0.1:7421"
[listen]
client = "127.0.0.1:0"
peer = "127.0.0.1:7421"
monitor = "127.0.0.1:0"
[tls]
certificate = "n.pem"
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
    assert!(refusal(&format!("{GOOD}\n[raft]\nheartbeet_ms = 5\n"), &[]).contains("heartbeet_ms"));
}

#[test]
fn a_node_that_is_no_member_is_refused() {
    assert!(refusal(GOOD, &[("node.id", "7")]).contains("not among the members"));
}

#[test]
fn an_election_shorter_than_three_heartbeats_is_refused() {
    assert!(refusal(GOOD, &[("raft.heartbeat_ms", "400")]).starts_with("raft.election_min_ms"));
}

#[test]
fn a_region_that_breaks_arns_is_refused() {
    assert!(refusal(GOOD, &[("cluster.region", "a:b")]).starts_with("cluster.region"));
}

#[test]
fn node_id_zero_is_refused() {
    assert!(refusal(GOOD, &[("node.id", "0")]).contains("node id"));
}

#[test]
fn flags_win_over_the_file_and_paths_are_anchored_to_it() {
    let config = load(GOOD, &[("raft.snapshot_every", "50")]).unwrap();
    assert_eq!(config.raft.snapshot_every, 50);
    assert!(config.tls.certificate.is_absolute());
    assert_eq!(config.tls.key, PathBuf::from("/k.pem"));
    assert_eq!(config.own_member().address, "127.0.0.1:7421");
    assert_eq!(config.node_name(), "node-2");
}

#[test]
fn the_example_names_every_key_and_what_it_comments_out_are_the_defaults() {
    let example = include_str!("../../../../deploy/strongroom.toml");
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

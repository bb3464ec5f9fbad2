use std::collections::{BTreeMap, BTreeSet};

use super::{register::Description, *};

const TABLE: &str = include_str!("../../../../docs/metrics.md");
const ALERTS: &str = include_str!("../../../../deploy/prometheus/strongroom-alerts.yml");
const OPERATIONS: &str = include_str!("../../../../docs/operations.md");
const SECURITY: &str = include_str!("../../../../SECURITY.md");

/// A line of the table.
#[derive(Debug)]
struct Documented {
    description: Description,
    unit: String,
}

fn kind(name: &str) -> &'static str {
    ["counter", "gauge", "histogram"].into_iter().find(|kind| *kind == name).expect(name)
}

/// The lines of the one table of metrics.
fn table() -> Vec<Documented> {
    let begin = TABLE.find("| name | type |").expect("the table's head");
    let lines = TABLE[begin..].lines().skip(2).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" |").map(str::trim).collect();
            let [name, kind_name, labels, unit, meaning, _alert] = cells[..] else {
                panic!("not six columns: {line}")
            };
            assert!(!meaning.is_empty(), "{line}");
            let labels = labels.split(", ").filter(|label| !label.is_empty());
            let description = Description {
                name: name.trim_matches('`').to_owned(),
                kind: kind(kind_name),
                labels: labels.map(|label| label.trim_matches('`').to_owned()).collect(),
            };
            Documented { description, unit: unit.to_owned() }
        })
        .collect()
}

/// What the library tells of the process, which is no metric of [`Register`].
fn of_process(metrics: &Metrics) -> Vec<Description> {
    let families = metrics.register.gather();
    let of_process = families.iter().filter(|family| family.name().starts_with("process_"));
    of_process
        .map(|family| Description {
            name: family.name().to_owned(),
            kind: match family.get_field_type() {
                prometheus::proto::MetricType::COUNTER => "counter",
                _ => "gauge",
            },
            labels: Vec::new(),
        })
        .collect()
}

/// Names of metrics in a text, without what a histogram adds to its own.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("strongroom_"));
    ours.map(|word| {
        let of_histogram = ["_bucket", "_sum", "_count"];
        let base = of_histogram.iter().find_map(|suffix| word.strip_suffix(suffix));
        base.unwrap_or(word).to_owned()
    })
    .collect()
}

#[test]
fn what_is_exported_is_what_the_table_says() {
    let metrics = Metrics::new("0");
    let mut exported = metrics.register.described();
    exported.extend(of_process(&metrics));
    let exported: BTreeSet<Description> = exported.into_iter().collect();
    let documented: Vec<Description> =
        table().into_iter().map(|documented| documented.description).collect();
    let distinct: BTreeSet<Description> = documented.iter().cloned().collect();
    assert_eq!(distinct.len(), documented.len(), "a metric stands there twice");
    let undocumented: Vec<_> = exported.difference(&distinct).collect();
    assert!(undocumented.is_empty(), "exported, and not so in docs/metrics.md: {undocumented:#?}");
    let absent: Vec<_> = distinct.difference(&exported).collect();
    assert!(absent.is_empty(), "in docs/metrics.md, and not exported so: {absent:#?}");
}

/// Prometheus, "Metric and label naming": base units as suffixes, `_total` for
/// counters and for nothing else.
#[test]
fn names_say_their_unit_and_kind() {
    for Documented { description: Description { name, kind, labels }, unit } in table() {
        let stem = name.strip_suffix("_total").unwrap_or(&name);
        assert_eq!(kind == "counter", stem != name, "{name} is a {kind}");
        for base in ["seconds", "bytes"] {
            assert_eq!(unit == base, stem.ends_with(&format!("_{base}")), "{name} in {unit}");
        }
        for other in ["_ms", "_millis", "_kb", "_mb", "_count", "_sum", "_bucket"] {
            assert!(!stem.ends_with(other), "{name}");
        }
        assert!(labels.iter().all(|label| label != "le" && label != "quantile"), "{name}");
    }
}

#[test]
fn every_bound_stands_in_the_documents_and_no_other() {
    let begin = TABLE.find("| `bound` | what").expect("the table's head");
    let lines = TABLE[begin..].lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = lines.filter_map(|line| line.split('|').nth(1));
    let documented: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim().trim_matches('`')).collect();
    let bounds: BTreeSet<&str> = Bound::ALL.into_iter().map(Bound::name).collect();
    assert_eq!(documented, bounds);
    assert_eq!(bounds.len(), Bound::ALL.len(), "two have one name");
}

#[test]
fn alerts_and_documents_name_only_what_is_exported() {
    let known: BTreeSet<String> =
        table().into_iter().map(|documented| documented.description.name).collect();
    for (place, text) in [("alerts", ALERTS), ("operations", OPERATIONS), ("security", SECURITY)] {
        let names = named(text);
        let unknown: Vec<_> = names.difference(&known).collect();
        assert!(unknown.is_empty(), "{place}: {unknown:?}");
    }
    assert!(named(ALERTS).len() > 10);
}

#[test]
fn a_reading_has_counters_from_the_start_and_sets_what_is_counted_elsewhere() {
    let metrics = Metrics::new("1.2.3");
    metrics.hit(Bound::Searches);
    metrics.call_ended("Decrypt", Code::Ok, Duration::from_millis(3));
    let read = |hits| {
        let text = metrics.text(|metrics, gauges| {
            metrics.set_hits(Bound::Calls, hits);
            count(&gauges.audit_records, hits);
        });
        let text = String::from_utf8(text.unwrap()).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = samples.map(|line| line.rsplit_once(' ').unwrap());
        pairs.map(|(series, value)| (series.to_owned(), value.to_owned())).collect()
    };
    for hits in [7, 9] {
        let samples: BTreeMap<String, String> = read(hits);
        let value = |series: &str| samples.get(series).map(String::as_str);
        let hits = hits.to_string();
        assert_eq!(value("strongroom_bound_hits_total{bound=\"calls\"}"), Some(hits.as_str()));
        assert_eq!(value("strongroom_audit_records_total"), Some(hits.as_str()));
        assert_eq!(value("strongroom_bound_hits_total{bound=\"searches\"}"), Some("1"));
        assert_eq!(value("strongroom_bound_hits_total{bound=\"ledger\"}"), Some("0"));
        let refused = "strongroom_shares_refused_total{reason=\"SHARE_MISTYPED\"}";
        assert_eq!(value(refused), Some("0"));
        let calls = "strongroom_calls_total{code=\"OK\",operation=\"Decrypt\"}";
        assert_eq!(value(calls), Some("1"));
        let bucket = |le| {
            format!("strongroom_call_duration_seconds_bucket{{operation=\"Decrypt\",le=\"{le}\"}}")
        };
        assert_eq!(value(&bucket("0.002")), Some("0"));
        assert_eq!(value(&bucket("0.005")), Some("1"));
        let build = samples.keys().find(|series| series.starts_with("strongroom_build_info"));
        assert!(build.is_some_and(|series| series.contains("version=\"1.2.3\"")));
    }
}

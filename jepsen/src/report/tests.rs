use super::html;
use crate::{
    checkers::{KeyState, Revoke},
    history::read_edn,
    run::{Header, Run},
    verdict::Checker,
};

fn run(text: &str) -> Run {
    let header = Header {
        workload: "keys <&>".to_owned(),
        seed: 77,
        commit: "abc123".to_owned(),
        nodes: vec![1, 2, 3],
        ..Header::default()
    };
    let checkers: [&dyn Checker; 2] = [&KeyState::default(), &Revoke];
    Run::judge(header, read_edn(text).unwrap(), &checkers).unwrap()
}

const BAD: &str = r#"[
{:process :monitor, :type :info, :f :node, :time 0,
 :value {:node 1, :role :leader, :term 1, :state :unsealed}}
{:process :nemesis, :type :info, :f :pause, :time 1000000,
 :value {:fault 0, :phase :install, :outcome :installed, :nodes [2]}}
{:process 1, :type :invoke, :f :disable-key, :value {:key "k<1>"}, :time 2000000, :node 1}
{:process 1, :type :ok, :f :disable-key, :value nil, :time 3000000}
{:process 1, :type :invoke, :f :encrypt, :value {:key "k<1>"}, :time 4000000, :node 3}
{:process 1, :type :ok, :f :encrypt, :value {:blob "b", :digest "d"}, :time 9000000}]"#;

#[test]
fn a_page_shows_laws_violations_faults_and_leaders_and_loads_nothing() {
    let page = html(&run(BAD));
    for part in [
        "keys &lt;&amp;&gt;",
        "mark bad\">failed",
        "op 4 (process 1 encrypt on node 3",
        "fault 0 (pause of node 2, installed)",
        "node 1: unsealed, leads",
        "class=\"ok named\"",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    for part in ["http://", "https://", "<script", "src=", "url(", "@import", "k<1>"] {
        assert!(!page.contains(part), "{part} is in the page");
    }
}

#[test]
fn every_element_that_is_opened_is_closed() {
    let page = html(&run(BAD));
    for element in ["svg", "rect", "title", "text", "table", "tr", "td", "ul", "li", "dl", "div"] {
        let opened = page.matches(&format!("<{element}>")).count()
            + page.matches(&format!("<{element} ")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        assert!(opened > 0, "{element}");
    }
}

#[test]
fn an_empty_run_has_a_page_and_is_not_tested() {
    let run = Run::judge(Header::default(), read_edn("[]").unwrap(), &[]).unwrap();
    assert!(html(&run).contains("not tested"));
}

#[test]
fn the_files_of_a_run_are_written_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(BAD);
    run.write(folder.path()).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read_edn(&read("history.edn")).unwrap(), run.history);
    assert_eq!(crate::history::read_json_lines(&read("history.jsonl")).unwrap(), run.history);
    let json: serde_json::Value = serde_json::from_str(&read("run.json")).unwrap();
    assert_eq!(json["result"], "failed");
    let header: Header = serde_json::from_value(json["header"].clone()).unwrap();
    assert_eq!(header, run.header);
    assert!(read("report.html").starts_with("<!DOCTYPE html>"));
}

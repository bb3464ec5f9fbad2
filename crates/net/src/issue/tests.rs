use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::{
    Credentials, TlsPaths,
    testing::{Pki, cluster, expired, node, valid},
};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn nothing_is_overwritten() {
    let pki = Pki::new(cluster(1));
    let dir = pki.dir.path();
    let before = fs::read(dir.join(CA_KEY)).unwrap();
    let again = DevelopmentCa::create(dir, cluster(2), valid()).err().unwrap();
    assert!(matches!(again, IssueError::Exists { .. }), "{again:?}");
    assert_eq!(fs::read(dir.join(CA_KEY)).unwrap(), before);

    let files = pki.ca.issue_client(dir, "app", valid()).unwrap();
    let before = fs::read(&files.key).unwrap();
    fs::remove_file(&files.cert).unwrap();
    let again = pki.ca.issue_client(dir, "app", valid()).unwrap_err();
    assert!(matches!(&again, IssueError::Exists { path } if *path == files.key), "{again:?}");
    assert_eq!(fs::read(&files.key).unwrap(), before);
    assert!(!files.cert.exists());
}

#[test]
fn names_that_no_identity_can_carry_are_refused_and_nothing_is_written() {
    let pki = Pki::new(cluster(1));
    let before = entries(pki.dir.path());
    for name in ["", "../x", "a b", "a/b", &"n".repeat(65)] {
        let error = pki.ca.issue_operator(pki.dir.path(), name, valid()).unwrap_err();
        assert!(matches!(error, IssueError::Name(_)), "{name:?}: {error:?}");
    }
    assert_eq!(entries(pki.dir.path()), before);
}

#[test]
fn a_validity_that_ends_before_it_begins_or_leaves_the_calendar_is_refused() {
    let pki = Pki::new(cluster(1));
    let now = SystemTime::now();
    for (not_before, not_after) in [
        (now, now),
        (now + DAY, now),
        (UNIX_EPOCH - DAY, now),
        (now, UNIX_EPOCH + Duration::from_secs(253_402_300_800)),
    ] {
        let validity = Validity { not_before, not_after };
        let error = pki.ca.issue_client(pki.dir.path(), "app", validity).unwrap_err();
        assert!(matches!(error, IssueError::Validity), "{error:?}");
    }
}

#[test]
fn a_ca_that_has_ended_issues_nothing_and_is_not_opened() {
    let dir = TempDir::new().unwrap();
    let ca = DevelopmentCa::create(dir.path(), cluster(1), expired()).unwrap();
    let before = entries(dir.path());
    let refusals = [
        ca.issue_client(dir.path(), "app", valid()).err().unwrap(),
        ca.issue_client(dir.path(), "app", expired()).err().unwrap(),
        DevelopmentCa::load(dir.path()).err().unwrap(),
    ];
    for error in refusals {
        let IssueError::CaEnded { path, ended } = &error else { panic!("{error:?}") };
        assert_eq!(path, ca.cert_path());
        assert!(error.to_string().contains(&date(*ended)), "{error}");
    }
    assert_eq!(entries(dir.path()), before);
}

#[test]
fn a_certificate_ends_with_its_ca_at_the_latest() {
    let now = SystemTime::now();
    let pki = Pki::lasting(cluster(1), Validity::days(now, 10));
    let ends = |path: &Path| {
        let der = CertificateDer::from_pem_file(path).unwrap();
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        parsed.validity().not_after.timestamp()
    };
    let ca = ends(pki.ca.cert_path());
    let opened = DevelopmentCa::load(pki.dir.path()).unwrap();
    for (days, name) in [(9, "shorter"), (10, "equal"), (397, "longer")] {
        for (from, ca_now) in [("made", &pki.ca), ("opened", &opened)] {
            let dir = pki.dir.path().join(from);
            let files = ca_now.issue_client(&dir, name, Validity::days(now, days)).unwrap();
            let expected = if days < 10 { ca - 86_400 } else { ca };
            assert_eq!(ends(&files.cert), expected, "{from} {name}");
        }
    }
    let late = Validity { not_before: now + DAY * 20, not_after: now + DAY * 30 };
    let error = pki.ca.issue_client(pki.dir.path(), "late", late).unwrap_err();
    assert!(matches!(error, IssueError::Validity), "{error:?}");
}

#[test]
fn a_key_whose_certificate_is_not_written_does_not_stay() {
    let pki = Pki::new(cluster(1));
    let dir = pki.dir.path().join("new");
    // A name that the file system takes, but not with what is added meanwhile.
    let cert = dir.join("c".repeat(250));
    let files = IssuedFiles { cert, key: dir.join("key.pem") };
    let identity = pki.node_identity(1);
    let issue = |files: &IssuedFiles| pki.ca.issue_to(files, &identity, &Names::default(), valid());
    let error = issue(&files).unwrap_err();
    assert!(matches!(&error, IssueError::Io { path, .. } if *path == files.cert), "{error:?}");
    assert_eq!(entries(&dir), Vec::<String>::new());
    let files = IssuedFiles { cert: dir.join("cert.pem"), ..files };
    issue(&files).unwrap();
    assert_eq!(entries(&dir), ["cert.pem", "key.pem"]);
}

#[test]
fn a_file_named_without_a_directory_lies_in_the_present_one() {
    for (path, directory) in
        [("node.pem", "."), ("./node.pem", "."), ("tls/node.pem", "tls"), ("/node.pem", "/")]
    {
        assert_eq!(directory_of(Path::new(path)), Path::new(directory), "{path}");
    }
}

#[test]
fn a_ca_with_the_key_of_another_or_no_ca_at_all_is_not_opened() {
    let pki = Pki::new(cluster(1));
    let dir = TempDir::new().unwrap();
    let open = || DevelopmentCa::load(dir.path()).err().unwrap();
    assert!(matches!(open(), IssueError::Io { .. }));

    fs::copy(pki.dir.path().join(CA_CERT), dir.path().join(CA_CERT)).unwrap();
    fs::copy(Pki::new(cluster(1)).dir.path().join(CA_KEY), dir.path().join(CA_KEY)).unwrap();
    assert!(matches!(open(), IssueError::KeyMismatch { .. }));

    let leaf = pki.node_files(1);
    fs::copy(&leaf.cert, dir.path().join(CA_CERT)).unwrap();
    fs::copy(&leaf.key, dir.path().join(CA_KEY)).unwrap();
    assert!(matches!(open(), IssueError::NotDevelopmentCa { .. }));
}

#[test]
fn a_ca_that_is_opened_again_issues_for_the_same_cluster() {
    let pki = Pki::new(cluster(1));
    let ca = DevelopmentCa::load(pki.dir.path()).unwrap();
    assert_eq!(ca.cluster(), cluster(1));
    let names = Names {
        dns: vec!["node-1.example.org".to_owned()],
        ips: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
    };
    let files = ca.issue_node(pki.dir.path(), node(1), &names, valid()).unwrap();
    let paths = TlsPaths {
        cert: files.cert.clone(),
        key: files.key.clone(),
        ca: ca.cert_path().to_owned(),
    };
    let credentials = Credentials::load(&paths).unwrap();
    assert_eq!(*credentials.identity(), pki.node_identity(1));

    let der = CertificateDer::from_pem_file(&files.cert).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert!(!parsed.is_ca());
    let shown = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value);
    for expected in ["node-1.example.org", "strongroom://cluster/", "IPAddress"] {
        assert!(shown.contains(expected), "{shown}");
    }
}

#[test]
fn keys_are_for_their_owner_only_and_no_temporary_file_stays() {
    let pki = Pki::new(cluster(1));
    let dir = pki.dir.path();
    pki.ca.issue_operator(dir, "alice", valid()).unwrap();
    assert_eq!(mode(&dir.join(CA_KEY)), 0o600);
    assert_eq!(mode(&dir.join("operator-alice-key.pem")), 0o600);
    assert_eq!(
        entries(dir),
        ["ca-key.pem", "ca.pem", "operator-alice-key.pem", "operator-alice.pem"]
    );
    let new = dir.join("new/deep");
    pki.ca.issue_client(&new, "app", valid()).unwrap();
    assert_eq!(mode(&new), 0o700);
}

#[test]
fn certificates_begin_a_day_early_and_last_as_asked() {
    let pki = Pki::new(cluster(1));
    let now = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let files = pki.ca.issue_node(
        pki.dir.path(),
        node(1),
        &Names::default(),
        Validity::days(now, Validity::LEAF_DAYS),
    );
    let der = CertificateDer::from_pem_file(files.unwrap().cert).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(parsed.validity().not_before.timestamp(), 1_900_000_000 - 86_400);
    assert_eq!(parsed.validity().not_after.timestamp(), 1_900_000_000 + 397 * 86_400);
}

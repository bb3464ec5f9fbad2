use std::fs;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd};
use zeroize::ZeroizeOnDrop;

use super::*;
use crate::{
    HandshakeError, Validity,
    testing::{Client, DAY, Pki, cluster, expired, handshake_at_server},
};

#[test]
fn a_certificate_that_ends_before_it_begins_is_refused() {
    let pki = Pki::new(cluster(1));
    let files = pki.files();
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2030, 1, 2);
    params.not_after = date_time_ymd(2030, 1, 1);
    let uri = pki.node_identity(1).to_string().try_into().unwrap();
    params.subject_alt_names.push(SanType::URI(uri));
    let key = KeyPair::generate().unwrap();
    fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    let error = Credentials::load(&pki.paths(&files)).err().unwrap();
    assert!(matches!(&error, LoadError::Validity { path } if *path == files.cert), "{error:?}");
}

#[test]
fn a_ca_file_of_ended_certificates_only_is_refused_and_the_last_to_end_is_named() {
    let pki = Pki::new(cluster(1));
    let ended = Pki::lasting(cluster(2), expired());
    let paths = TlsPaths { ca: ended.ca.cert_path().to_owned(), ..pki.paths(&pki.node_files(1)) };
    let error = Credentials::load(&paths).err().unwrap();
    let LoadError::CaEnded { path, ended: at, .. } = &error else { panic!("{error:?}") };
    assert_eq!((path, error.path()), (&paths.ca, Some(paths.ca.as_path())));
    let said = error.to_string();
    assert!(said.contains(&cluster(2).to_string()), "which certificate: {said}");
    assert!(said.contains(&date(*at)), "when: {said}");

    let Validity { not_before, not_after } = expired();
    let earlier = Pki::lasting(cluster(3), Validity { not_before, not_after: not_after - DAY });
    fs::write(&paths.ca, earlier.ca_beside(&ended)).unwrap();
    let said = Credentials::load(&paths).err().unwrap().to_string();
    assert!(said.contains(&cluster(2).to_string()), "of two: {said}");
}

#[tokio::test]
async fn an_ended_ca_beside_a_valid_one_is_not_trusted() {
    let pki = Pki::new(cluster(1));
    let ended = Pki::lasting(cluster(1), expired());
    let store = pki.store(1);
    fs::write(pki.ca.cert_path(), pki.ca_beside(&ended)).unwrap();
    store.reload().unwrap();
    assert_eq!((store.current().cas_ended(), store.current().roots().len()), (1, 1));

    // The certificate itself is valid: no development CA would issue it.
    let client_auth = [ExtendedKeyUsagePurpose::ClientAuth];
    let files = ended.issue_odd(&[pki.node_identity(2).to_string()], &client_auth);
    let refused = handshake_at_server(&store, Listener::Peer, &Client::with(&files)).await;
    assert!(matches!(refused, Err(HandshakeError::UntrustedIssuer)), "{refused:?}");
    let client = Client::with(&pki.node_files(2));
    assert!(handshake_at_server(&store, Listener::Peer, &client).await.is_ok());
}

#[test]
fn the_der_of_a_private_key_is_wiped_when_it_is_dropped() {
    fn wiped_on_drop<T: ZeroizeOnDrop>(_: &T) {}
    let pki = Pki::new(cluster(1));
    let key = read_key(&pki.node_files(1).key).unwrap();
    assert!(!key.secret_der().is_empty());
    wiped_on_drop(&key);
}

//! Files and pipes of any size.

use std::fs;

use super::{ORDERS, call::field, site::Site, uses::Keys};

/// More than a few chunks, and not a whole number of them.
const BYTES: usize = 3 * 1024 * 1024 + 17;
const CONTEXT: [&str; 2] = ["--context", "table=orders"];

pub(super) async fn files(site: &Site, keys: &Keys) {
    let plaintext: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    site.write_private("orders.db", &plaintext);
    let encrypt = ["file", "encrypt", "--key-id", &keys.first, "--key-id", &keys.second];
    let encrypt = [&encrypt[..], &CONTEXT, &["--in", "orders.db", "--out", "orders.db.sre"]];
    let encrypt = encrypt.concat();
    let done = site.call(&encrypt).with_token(ORDERS).prints().await;
    assert_eq!(done["plaintext_bytes"], BYTES);
    let envelope = site.read("orders.db.sre");
    assert_eq!(done["envelope_bytes"], envelope.len());
    site.call(&encrypt).with_token(ORDERS).refused("orders.db.sre exists already").await;

    let decrypt = |arguments: &[&str]| {
        let arguments = [&["file", "decrypt"], arguments].concat();
        site.call(&arguments).with_token(ORDERS)
    };
    let whole = ["--in", "orders.db.sre", "--out", "orders.again"];
    let other = [&whole[..], &["--context", "table=other"]].concat();
    decrypt(&other).refused("the envelope's encryption context lacks").await;
    let done = decrypt(&[&whole[..], &CONTEXT].concat()).prints().await;
    assert!(field(&done, "key_id").ends_with(&keys.first), "{done}");
    assert_eq!(done["encryption_context"]["table"], "orders");
    assert!(site.read("orders.again") == plaintext);
    assert_eq!(site.mode("orders.again"), 0o600);
    let second = ["--in", "orders.db.sre", "--out", "orders.second", "--key-id", &keys.second];
    let done = decrypt(&second).prints().await;
    assert!(field(&done, "key_id").ends_with(&keys.second), "{done}");

    cut_and_changed(site, &envelope, &plaintext).await;

    // Through pipes, an empty one included.
    for text in [&b""[..], b"a line\n"] {
        let encrypt = ["file", "encrypt", "--key-id", &keys.first];
        let made = site.call(&encrypt).with_token(ORDERS).with_input(text).succeeds().await;
        let opened = decrypt(&[]).with_input(&made.stdout).succeeds().await;
        assert_eq!(opened.stdout, text);
    }
}

async fn cut_and_changed(site: &Site, envelope: &[u8], plaintext: &[u8]) {
    let mut changed = envelope.to_vec();
    changed[envelope.len() / 2] ^= 1;
    let cut = &envelope[..envelope.len() - 1];
    for (name, bytes, reason) in [
        ("cut.sre", cut, "the envelope is cut off at chunk "),
        ("changed.sre", &changed[..], "chunk "),
    ] {
        fs::write(site.path(name), bytes).unwrap();
        let to_file = ["file", "decrypt", "--in", name, "--out", "nothing.db"];
        site.call(&to_file).with_token(ORDERS).refused(reason).await;
        assert!(!site.path("nothing.db").exists());
        // A pipe has what is authentic, and the exit code says that it is a part.
        let piped = site.call(&["file", "decrypt", "--in", name]).with_token(ORDERS).run().await;
        assert_eq!(piped.code, 1, "{}", piped.stderr);
        assert!(plaintext.starts_with(&piped.stdout) && piped.stdout.len() < plaintext.len());
    }
    let left = fs::read_dir(&site.folder).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

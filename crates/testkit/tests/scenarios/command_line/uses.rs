//! Keys and tokens, and uses of keys.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use serde_json::Value;

use super::{ADMINISTRATOR, ANN, ORDERS, call::field, site::Site};

/// A plaintext, and the encryption contexts of its ciphertexts.
const PLAINTEXT: &[u8] = b"a plaintext of the README's tour";
const OLD: [&str; 2] = ["--context", "purpose=old"];
const NEW: [&str; 2] = ["--context", "purpose=new"];

/// Ids of two keys.
pub(super) struct Keys {
    pub(super) first: String,
    pub(super) second: String,
}

pub(super) async fn keys(site: &Site) -> Keys {
    site.call(&["key", "list"]).refused("UNAUTHENTICATED: ").await;
    let whoami = site.call(&["whoami"]).with_token(ADMINISTRATOR).prints().await;
    let who = (field(&whoami, "principal_name"), field(&whoami, "role"));
    assert_eq!(who, ("root", "administrator"));

    let create = async |description: &str| {
        let token = ["--client-token", "orders-2026"];
        let create = ["key", "create", "--description", description];
        let call = site.call(&[&create[..], &token].concat()).with_token(ADMINISTRATOR);
        call.prints().await["key_metadata"].clone()
    };
    let made = create("orders database").await;
    assert_eq!(field(&made, "key_state"), "Enabled");
    assert_eq!(made["enabled"], true);
    assert_eq!(field(&made, "description"), "orders database");
    let first = field(&made, "key_id").to_owned();
    assert_eq!(field(&create("orders database").await, "key_id"), first, "a repeat");
    let other = ["key", "create", "--description", "other", "--client-token", "orders-2026"];
    let other = site.call(&other).with_token(ADMINISTRATOR);
    other.refused("IDEMPOTENCY_MISMATCH: ").await;
    let second = site.call(&["key", "create"]).with_token(ADMINISTRATOR).prints().await;
    let second = field(&second["key_metadata"], "key_id").to_owned();

    let list = async |arguments: &[&str]| {
        let call = site.call(&[&["key", "list"], arguments].concat());
        call.with_token(ADMINISTRATOR).prints().await
    };
    let page = list(&["--limit", "1"]).await;
    assert_eq!(ids(&page).len(), 1);
    assert_eq!(page["truncated"], true);
    let rest = list(&["--marker", field(&page, "next_marker")]).await;
    assert_eq!(ids(&rest).len(), 1);
    assert_eq!(rest["truncated"], false);
    let all = list(&["--all", "--limit", "1", "--long"]).await;
    assert_eq!(ids(&all), BTreeSet::from([first.clone(), second.clone()]));
    for key in all["keys"].as_array().unwrap() {
        assert_eq!(field(&key["key_metadata"], "key_state"), "Enabled");
    }
    describe_and_switch(site, &first).await;
    Keys { first, second }
}

fn ids(page: &Value) -> BTreeSet<String> {
    let keys = page["keys"].as_array().unwrap().iter();
    keys.map(|key| field(key, "key_id").to_owned()).collect()
}

async fn describe_and_switch(site: &Site, key: &str) {
    let nobody = "00000000-0000-4000-8000-000000000000";
    let unknown = site.call(&["key", "describe", nobody]).with_token(ADMINISTRATOR);
    unknown.refused("KEY_NOT_FOUND: ").await;
    for (command, state) in [("disable", "Disabled"), ("enable", "Enabled")] {
        let done = site.call(&["key", command, key]).with_token(ADMINISTRATOR).prints().await;
        assert_eq!((field(&done, "key_id"), field(&done, "key_state")), (key, state));
        let call = site.call(&["key", "describe", key]).with_token(ADMINISTRATOR);
        assert_eq!(field(&call.prints().await["key_metadata"], "key_state"), state);
        let call = site.call(&["key", "describe", key]).with_token(ADMINISTRATOR);
        let run = call.succeeds().await;
        assert!(run.text().contains(key) && run.text().contains(state), "{}", run.text());
    }
}

pub(super) async fn tokens(site: &Site) {
    let create = ["token", "create", "--principal"];
    let orders = ["orders", "--role", "user", "--ttl", "90d", "--token-out", ORDERS];
    let orders = [&create[..], &orders].concat();
    let made = site.call(&orders).with_token(ADMINISTRATOR).prints().await;
    assert_eq!(field(&made, "token_file"), ORDERS);
    assert!(made.get("token").is_none(), "the token went to its file");
    assert_eq!(field(&made["metadata"], "role"), "user");
    assert!(made["metadata"]["expires_ms"].as_u64() > made["metadata"]["created_ms"].as_u64());
    let again = site.call(&orders).with_token(ADMINISTRATOR);
    again.refused(&format!("{ORDERS} exists already")).await;
    let ann = ["ann", "--role", "auditor", "--token-out", ANN];
    site.call(&[&create[..], &ann].concat()).with_token(ADMINISTRATOR).succeeds().await;
    for file in [ORDERS, ANN] {
        assert_eq!(site.mode(file), 0o600, "{file}");
        site.learn_file(file);
    }

    // One that is shown, and revoked.
    let shown = [&create[..], &["shown", "--role", "user"]].concat();
    let shown = site.call(&shown).with_token(ADMINISTRATOR).showing_a_secret().prints().await;
    let token = field(&shown, "token");
    assert!(token.starts_with("srt_"));
    site.write_private("shown.token", token.as_bytes());
    site.learn_file("shown.token");
    let whoami = site.call(&["whoami"]).with_token("shown.token").prints().await;
    assert_eq!(field(&whoami, "principal_name"), "shown");
    site.call(&["token", "list"]).with_token(ORDERS).refused("ACCESS_DENIED: ").await;
    let list = site.call(&["token", "list"]).with_token(ADMINISTRATOR).prints().await;
    let tokens = list["tokens"].as_array().unwrap().iter();
    let principals: BTreeSet<_> = tokens.map(|token| field(token, "principal_name")).collect();
    assert_eq!(principals, BTreeSet::from(["ann", "orders", "root", "shown"]));
    let revoke = ["token", "revoke", field(&shown["metadata"], "token_id")];
    let done = site.call(&revoke).with_token(ADMINISTRATOR).prints().await;
    assert_eq!(done, serde_json::json!({}));
    site.call(&["whoami"]).with_token("shown.token").refused("UNAUTHENTICATED: ").await;
}

pub(super) async fn data_keys(site: &Site, keys: &Keys) {
    let make = ["data-key", "--key-id", &keys.first, "--context", "table=orders"];
    site.call(&make).with_token(ADMINISTRATOR).refused("ACCESS_DENIED: ").await;
    let files = ["--plaintext-out", "dk.plain", "--ciphertext-out", "dk.wrapped"];
    let made = site.call(&[&make[..], &files].concat()).with_token(ORDERS).prints().await;
    assert!(field(&made, "key_id").ends_with(&keys.first), "{made}");
    assert!(made.get("plaintext").is_none() && made.get("ciphertext_blob").is_none(), "{made}");
    let plaintext = site.read("dk.plain");
    assert_eq!((plaintext.len(), site.mode("dk.plain")), (32, 0o600));
    site.learn("a data key", &plaintext);

    let open = |context: &str, out: &str| {
        let open = ["decrypt", "--in", "dk.wrapped", "--context", context, "--out", out];
        site.call(&open).with_token(ORDERS)
    };
    open("table=other", "nothing").refused("INVALID_CIPHERTEXT: ").await;
    assert!(!site.path("nothing").exists());
    let opened = open("table=orders", "dk.again").succeeds().await;
    assert!(opened.stdout.is_empty());
    assert_eq!((site.read("dk.again"), site.mode("dk.again")), (plaintext, 0o600));
    open("table=orders", "dk.again").refused("dk.again exists already").await;

    // To standard output, and back from standard input.
    let shown = site.call(&make).with_token(ORDERS).showing_a_secret().prints().await;
    let open = site.call(&["decrypt", "--context", "table=orders"]).with_token(ORDERS);
    let open = open.with_input(field(&shown, "ciphertext_blob").as_bytes()).showing_a_secret();
    assert_eq!(open.prints().await["plaintext"], shown["plaintext"]);
    let plaintext = BASE64.decode(field(&shown, "plaintext").as_bytes()).unwrap();
    assert_eq!(plaintext.len(), 32);
    site.learn("a data key that is shown", &plaintext);
    let wrapped = [&make[..], &["--without-plaintext"]].concat();
    let wrapped = site.call(&wrapped).with_token(ORDERS).prints().await;
    assert!(wrapped.get("plaintext").is_none() && wrapped["ciphertext_blob"].is_string());
}

pub(super) async fn texts(site: &Site, keys: &Keys) {
    site.learn("a plaintext", PLAINTEXT);
    let encrypt = ["encrypt", "--key-id", &keys.first];
    let encrypt = [&encrypt[..], &OLD].concat();
    let to_file = site.call(&[&encrypt[..], &["--out", "secret.blob"]].concat()).with_token(ORDERS);
    assert!(to_file.with_input(PLAINTEXT).succeeds().await.stdout.is_empty());
    let open = [&["decrypt", "--in", "secret.blob"], &OLD[..]].concat();
    let opened = site.call(&open).with_token(ORDERS).showing_a_secret().succeeds().await;
    assert_eq!(opened.stdout, PLAINTEXT);
    let shown = site.call(&encrypt).with_token(ORDERS).with_input(PLAINTEXT).prints().await;
    assert!(field(&shown, "key_id").ends_with(&keys.first));
    assert!(BASE64.decode(field(&shown, "ciphertext_blob").as_bytes()).is_ok());

    let contexts = ["--source-context", OLD[1], "--destination-context", NEW[1]];
    let again = ["re-encrypt", "--in", "secret.blob", "--destination-key-id", &keys.second];
    let again = site.call(&[&again[..], &contexts].concat()).with_token(ORDERS).prints().await;
    assert!(field(&again, "source_key_id").ends_with(&keys.first), "{again}");
    assert!(field(&again, "key_id").ends_with(&keys.second), "{again}");
    let blob = field(&again, "ciphertext_blob").as_bytes();
    let open = |context: &[&str]| site.call(&[&["decrypt"], context].concat()).with_token(ORDERS);
    open(&OLD).with_input(blob).refused("INVALID_CIPHERTEXT: ").await;
    let opened = open(&NEW).with_input(blob).showing_a_secret().succeeds().await;
    assert_eq!(opened.stdout, PLAINTEXT);

    let random = site.call(&["random", "--bytes", "16"]).with_token(ORDERS).showing_a_secret();
    let random = random.prints().await;
    assert_eq!(BASE64.decode(field(&random, "plaintext").as_bytes()).unwrap().len(), 16);
    let random = ["random", "--bytes", "16", "--encoding", "hex"];
    let random = site.call(&random).with_token(ORDERS).showing_a_secret().succeeds().await;
    let digits = random.text().trim_end();
    assert!(digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
}

pub(super) async fn disabled(site: &Site, keys: &Keys) {
    let switch = async |command: &str| {
        let call = site.call(&["key", command, &keys.first]).with_token(ADMINISTRATOR);
        call.succeeds().await;
    };
    switch("disable").await;
    let make = ["data-key", "--key-id", &keys.first, "--plaintext-out", "none.plain"];
    site.call(&make).with_token(ORDERS).refused("KEY_DISABLED: ").await;
    assert!(!site.path("none.plain").exists());
    let open =
        ["decrypt", "--in", "dk.wrapped", "--context", "table=orders", "--out", "none.plain"];
    site.call(&open).with_token(ORDERS).refused("KEY_DISABLED: ").await;
    assert!(!site.path("none.plain").exists());
    switch("enable").await;
    site.call(&open).with_token(ORDERS).succeeds().await;
    assert_eq!(site.read("none.plain"), site.read("dk.plain"));
}

//! The program as people and scripts use it: the README's tour on three nodes,
//! and the development server.

mod call;
mod care;
mod site;
mod streams;
mod uses;

use std::{fs, path::PathBuf, time::Duration};

use data_encoding::BASE64;
use rustix::process::Signal;
use serde_json::Value;
use strongroom_testkit::{turn, wait};

use call::{Run, field};
use site::{Background, Site};
use uses::Keys;

const START: Duration = Duration::from_secs(60);
/// Files that `init` and `token create` leave.
const ADMINISTRATOR: &str = "ceremony/administrator-token.txt";
const ORDERS: &str = "orders.token";
const ANN: &str = "ann.token";

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_the_readme_holds_step_by_step() {
    let _turn = turn().await;
    let site = Site::new("tour");
    make_certificates(&site).await;
    start(&site).await;
    form(&site).await;
    unseal(&site).await;
    let keys = uses::keys(&site).await;
    uses::tokens(&site).await;
    uses::data_keys(&site, &keys).await;
    uses::texts(&site, &keys).await;
    streams::files(&site, &keys).await;
    uses::disabled(&site, &keys).await;
    lose_a_node(&site).await;
    care::audit(&site, &keys).await;
    care::cluster(&site).await;
    seal(&site, &keys).await;
    site.finish().await;
}

async fn make_certificates(site: &Site) {
    let init = ["tls", "init", "--dir", "pki", "--nodes", "3", "--write-config"];
    let made = site.call(&init).prints().await;
    let files: Vec<_> = made["files"].as_array().unwrap().iter().map(Value::as_str).collect();
    for file in files.into_iter().map(Option::unwrap) {
        assert!(site.path(file).is_file(), "{file}");
        if file.ends_with("-key.pem") {
            assert_eq!(site.mode(file), 0o600, "{file}");
            let key = String::from_utf8(site.read(file)).unwrap();
            site.learn(file, key.lines().nth(1).unwrap().as_bytes());
        }
    }
    let identity: Value = serde_json::from_slice(&site.read("pki/cluster.json")).unwrap();
    assert_eq!(identity["cluster_id"], made["cluster_id"]);

    let ca = site.read("pki/ca.pem");
    site.call(&init).refused("").await;
    assert_eq!(site.read("pki/ca.pem"), ca, "nothing is made twice");
    site.take_free_ports();
}

async fn start(site: &Site) {
    let run = site.call(&["status"]).run().await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(run.text().matches("UNREACHABLE").count(), 3, "{}", run.text());
    assert!(run.stderr.contains("can't reach"), "{}", run.stderr);
    site.wait_states(1, ["UNREACHABLE"; 3]).await;
    for node in 1..=3 {
        site.serve(node);
    }
    site.wait_states(2, ["uninitialised"; 3]).await;
}

async fn form(site: &Site) {
    let init = ["init", "--shares", "5", "--threshold", "3", "--share-dir", "ceremony"];
    site.call(&init).refused("init needs an operator certificate").await;
    let impossible = ["init", "--shares", "2", "--threshold", "3", "--share-dir", "ceremony"];
    let operator = ["--profile", "operator"];
    site.call(&[&operator[..], &impossible].concat()).refused("3 of 2 shares").await;
    let init = [&operator[..], &init].concat();
    let formed = site.call(&init).prints().await;
    let identity: Value = serde_json::from_slice(&site.read("pki/cluster.json")).unwrap();
    assert_eq!(formed["cluster_id"], identity["cluster_id"]);
    assert_eq!(formed["seal_epoch"], 1);
    assert_eq!(field(&formed, "administrator_token_file"), ADMINISTRATOR);
    let shares = formed["share_files"].as_array().unwrap();
    assert_eq!(shares.len(), 5);
    for (file, number) in shares.iter().map(|file| file.as_str().unwrap()).zip(1..) {
        assert_eq!(file, share(number));
        assert_eq!(site.mode(file), 0o600, "{file}");
        site.learn_file(file);
    }
    for file in [ADMINISTRATOR, "ceremony/init-token"] {
        assert_eq!(site.mode(file), 0o600, "{file}");
        site.learn_file(file);
    }
    assert_eq!(site.mode("ceremony"), 0o700);
    site.call(&init).refused("ceremony/share-1.txt exists already").await;
    site.wait_states(2, ["sealed"; 3]).await;
}

fn share(number: u32) -> String {
    format!("ceremony/share-{number}.txt")
}

/// What `unseal` and `seal` say in JSON: state and progress of each node, or why
/// it refused.
fn standings(run: &Run) -> Vec<String> {
    let standing = |node: &Value| match node["status"]["state"].as_str() {
        Some(state) => format!("{state} {}", node["status"]["progress"]),
        None => field(&node["error"], "reason").to_owned(),
    };
    run.json()["nodes"].as_array().unwrap().iter().map(standing).collect()
}

async fn unseal(site: &Site) {
    site.call(&["key", "create"]).with_token(ADMINISTRATOR).refused("SEALED: ").await;
    let list = site.call(&["key", "list", "--output", "json"]).with_token(ADMINISTRATOR);
    let run = list.run().await;
    assert_eq!((run.code, run.text()), (1, ""));
    let error: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "SEALED");

    let given = async |number: u32| {
        let file = share(number);
        let call = site.call(&["unseal", "--share-file", &file, "--output", "json"]);
        let run = call.run().await;
        (run.code, standings(&run))
    };
    let all = |standing: &str| vec![standing.to_owned(); 3];
    assert_eq!(given(1).await, (0, all("sealed 1")));
    assert_eq!(given(1).await, (1, all("SHARE_REPEATED")));
    let typed = ["unseal", "--output", "json"];
    let nonsense = site.call(&typed).with_input(b"correct horse battery staple\n").run().await;
    assert_eq!((nonsense.code, standings(&nonsense)), (1, all("SHARE_MALFORMED")));
    let reset = ["unseal", "--reset", "--output", "json"];
    let run = site.call(&reset).run().await;
    assert_eq!((run.code, standings(&run)), (1, all("ACCESS_DENIED")));
    let run = site.call(&[&["--profile", "operator"], &reset[..]].concat()).run().await;
    assert_eq!((run.code, standings(&run)), (0, all("sealed 0")));

    assert_eq!(given(1).await, (0, all("sealed 1")));
    let run = site.call(&typed).with_input(&site.read(&share(3))).run().await;
    assert_eq!((run.code, standings(&run)), (0, all("sealed 2")));
    let last = site.call(&["unseal", "--share-file", &share(5)]).succeeds().await;
    assert_eq!(last.text().matches("3 of 3").count(), 3, "{}", last.text());
    site.wait_states(0, ["unsealed"; 3]).await;
}

async fn lose_a_node(site: &Site) {
    site.kill(1);
    let decrypt =
        ["decrypt", "--in", "dk.wrapped", "--context", "table=orders", "--out", "dk.again"];
    // An election may be needed first.
    let patient = ["--force", "--timeout", "30"];
    site.call(&[&decrypt[..], &patient].concat()).with_token(ORDERS).succeeds().await;
    assert_eq!(site.read("dk.again"), site.read("dk.plain"));
    site.wait_states(1, ["UNREACHABLE", "unsealed", "unsealed"]).await;

    site.serve(1);
    site.wait_states(2, ["sealed", "unsealed", "unsealed"]).await;
    let shares = [1, 3, 5].map(share);
    let files = shares.iter().flat_map(|file| ["--share-file", file.as_str()]);
    let unseal: Vec<_> = ["unseal"].into_iter().chain(files).collect();
    site.call(&unseal).succeeds().await;
    site.wait_states(0, ["unsealed"; 3]).await;
}

async fn seal(site: &Site, keys: &Keys) {
    let json = ["seal", "--output", "json"];
    let run = site.call(&json).run().await;
    assert_eq!((run.code, standings(&run)), (1, vec!["ACCESS_DENIED".to_owned()]));
    site.wait_states(0, ["unsealed"; 3]).await;
    let operator = ["--profile", "operator"];
    let run = site.call(&[&operator[..], &json].concat()).run().await;
    assert_eq!((run.code, standings(&run)), (0, vec!["sealed 0".to_owned()]));
    site.wait_states(2, ["sealed", "unsealed", "unsealed"]).await;

    let data_key = ["data-key", "--key-id", &keys.first, "--without-plaintext", "--timeout", "30"];
    site.call(&data_key).with_token(ORDERS).succeeds().await;
    let run = site.call(&[&operator[..], &["seal", "--all"]].concat()).succeeds().await;
    assert_eq!(run.text().matches("sealed").count(), 3, "{}", run.text());
    assert!(!run.text().contains("unsealed"), "{}", run.text());
    site.wait_states(2, ["sealed"; 3]).await;
    site.call(&data_key).with_token(ORDERS).refused("SEALED: ").await;
}

/// What the development server says once it serves.
async fn ready(server: &mut Background) -> String {
    wait::until("the development server is ready", START, || {
        let (ended, out, err) = (server.exited(), server.out(), server.err());
        async move {
            assert!(ended.is_none(), "it ended: {ended:?}: {err}");
            anyhow::ensure!(out.contains("Ctrl-C ends the server"), "{out}{err}");
            Ok(out)
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_server_warns_serves_and_leaves_nothing_behind() {
    let _turn = turn().await;
    let site = Site::new("dev");
    let any = "127.0.0.1:0";
    let mut server = site.start("dev", &["dev", "--listen", any, "--monitor", any]);
    let out = ready(&mut server).await;
    let warning = server.err();
    assert!(warning.contains("Never for production"), "{warning}");
    assert!(warning.contains("reads every key"), "{warning}");
    let exported = |name: &str| {
        let prefix = format!("export {name}=");
        out.lines().find_map(|line| line.strip_prefix(&prefix)).expect("it is exported").to_owned()
    };
    let profiles = PathBuf::from(exported("STRONGROOM_CLIENT_CONFIG"));
    let key = exported("KEY");
    let home = profiles.parent().unwrap();
    for file in ["share.txt", "administrator-token.txt", "user-token.txt"] {
        site.learn(file, fs::read(home.join(file)).unwrap().trim_ascii());
    }

    let data_key = site.call(&["data-key", "--key-id", &key]).with_profiles(&profiles);
    let made = data_key.showing_a_secret().prints().await;
    let plaintext = BASE64.decode(field(&made, "plaintext").as_bytes()).unwrap();
    assert_eq!(plaintext.len(), 32);
    site.learn("a data key", &plaintext);
    let decrypt = site.call(&["decrypt"]).with_profiles(&profiles).showing_a_secret();
    let opened = decrypt.with_input(field(&made, "ciphertext_blob").as_bytes()).succeeds().await;
    assert_eq!(opened.stdout, plaintext);
    let list = site.call(&["--profile", "administrator", "key", "list"]).with_profiles(&profiles);
    assert!(list.succeeds().await.text().contains(&key));

    server.signal(Signal::TERM);
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.err());
    let left = fs::read_dir(site.path("tmp")).unwrap().count();
    assert_eq!(left, 0, "the temporary directory is removed with all keys");
    site.print_of(&server);
    site.assert_no_secret_was_told();
}

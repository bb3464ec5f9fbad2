//! An application: it asks for data keys with the Rust client, and keeps its
//! files encrypted.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};
use strongroom_client::{
    Client, ClientIdentity, Config, Token,
    proto::{DataKeySpec, DecryptRequest, GenerateDataKeyRequest},
};
use strongroom_testkit::{Cluster, Front, Who};

use crate::envelope;

/// The application, connected.
pub(crate) struct Application {
    client: Client,
}

/// What the encryption context says of the file.
fn context(name: &str) -> std::collections::BTreeMap<String, String> {
    [("purpose", "demonstration"), ("file", name)]
        .map(|(key, value)| (key.into(), value.into()))
        .into()
}

impl Application {
    /// Connects through `front`, with the token in a file.
    pub(crate) async fn connect(
        cluster: &Cluster,
        front: &Front,
        token_file: &Path,
    ) -> anyhow::Result<Self> {
        let address = front.address().to_string();
        let files = cluster.pki().files(Who::Client);
        let identity = ClientIdentity {
            certificate_pem: fs::read(&files.cert)?,
            key_pem: fs::read(&files.key)?.into(),
        };
        let token = Token::new(fs::read_to_string(token_file)?.trim())?;
        let config = Config::new([address], fs::read(cluster.pki().ca_path())?)?
            .with_identity(identity)
            .with_token(token);
        Ok(Self { client: Client::connect(&config).await? })
    }

    /// Encrypts a file under a new data key. Gives the length of what it wrote.
    pub(crate) async fn encrypt_file(
        &self,
        key_id: &str,
        plain: &Path,
        sealed: &Path,
    ) -> anyhow::Result<u64> {
        let request = GenerateDataKeyRequest {
            key_id: key_id.to_owned(),
            encryption_context: context(&file_name(plain)),
            key_spec: DataKeySpec::Aes256.into(),
            number_of_bytes: 0,
        };
        let response = self.client.generate_data_key(request).await?;
        let data_key = response.plaintext.as_slice().try_into().context("not 32 bytes")?;
        let from = BufReader::new(File::open(plain)?);
        let to = BufWriter::new(File::create(sealed)?);
        envelope::encrypt(data_key, &response.ciphertext_blob, from, to)?;
        Ok(fs::metadata(sealed)?.len())
    }

    /// Decrypts a file that [`Application::encrypt_file`] made of `plain`, and
    /// requires the same bytes.
    pub(crate) async fn decrypt_and_compare(
        &self,
        sealed: &Path,
        restored: &Path,
        plain: &Path,
    ) -> anyhow::Result<String> {
        let mut from = BufReader::new(File::open(sealed)?);
        let wrapped = envelope::wrapped_key(&mut from)?;
        let request = DecryptRequest {
            ciphertext_blob: wrapped,
            encryption_context: context(&file_name(plain)),
            key_id: String::new(),
        };
        let response = self.client.decrypt(request).await?;
        let data_key = response.plaintext.as_slice().try_into().context("not 32 bytes")?;
        envelope::decrypt(data_key, from, BufWriter::new(File::create(restored)?))?;
        let digest = digest(plain)?;
        ensure!(self::digest(restored)? == digest, "the file came back changed");
        Ok(digest)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn digest(path: &Path) -> anyhow::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&hasher.finalize())),
            count => hasher.update(&chunk[..count]),
        }
    }
}

//! `strongroom data-key`, `encrypt`, `decrypt`, `re-encrypt`, `random`.

use std::path::PathBuf;

use clap::Args;
use data_encoding::BASE64;
use serde::Serialize;
use strongroom_client::{
    limits,
    proto::{
        DataKeySpec, DecryptRequest, EncryptRequest, GenerateDataKeyRequest,
        GenerateDataKeyWithoutPlaintextRequest, GenerateRandomRequest, ReEncryptRequest,
    },
};
use zeroize::Zeroizing;

use crate::{
    bytes::{Input, Sink},
    commands::DONE,
    connect::Session,
    context,
    files::{self, Privacy},
    progress::waiting,
    views::Base64,
};

/// Size of a data key by its use.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SpecArg {
    /// 32 bytes
    #[value(name = "AES_256")]
    Aes256,
    /// 16 bytes
    #[value(name = "AES_128")]
    Aes128,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  strongroom data-key --key-id KEY --context table=orders
  strongroom data-key --key-id KEY --plaintext-out key.bin --ciphertext-out key.blob
  strongroom data-key --key-id KEY --without-plaintext --output json")]
pub(crate) struct DataKeyArgs {
    /// Key id or ARN
    #[arg(long, value_name = "KEY")]
    key_id: String,
    /// Encryption context; decryption needs the same. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = context::pair)]
    context: Vec<(String, String)>,
    /// Size, by the cipher that will use it [default: AES_256]
    #[arg(long, value_name = "SPEC", conflicts_with = "bytes")]
    spec: Option<SpecArg>,
    /// Size in bytes, 1 to 1,024
    #[arg(long, value_name = "N", value_parser = byte_count())]
    bytes: Option<u32>,
    /// The ciphertext only: for whoever stores it now and decrypts it later
    #[arg(long, conflicts_with = "plaintext_out")]
    without_plaintext: bool,
    /// Write the raw plaintext to a file of mode 0600 instead of showing it
    #[arg(long, value_name = "FILE")]
    plaintext_out: Option<PathBuf>,
    /// Write the raw ciphertext to a file instead of showing it
    #[arg(long, value_name = "FILE")]
    ciphertext_out: Option<PathBuf>,
    /// Replace existing files
    #[arg(long)]
    force: bool,
}

/// A data key, as both operations return it.
struct DataKey {
    ciphertext_blob: Vec<u8>,
    plaintext: Option<Zeroizing<Vec<u8>>>,
    key_id: String,
    key_material_id: String,
}

pub(crate) async fn data_key(args: DataKeyArgs, session: Session) -> anyhow::Result<u8> {
    let outs = args.plaintext_out.iter().chain(&args.ciphertext_out);
    files::refuse_existing(outs, args.force.into())?;
    let key = waiting(session.output, "making a data key", generate(&args, &session)).await?;
    if let Some(path) = &args.ciphertext_out {
        files::write(path, &key.ciphertext_blob, Privacy::Usual, args.force.into())?;
    }
    if let (Some(path), Some(plaintext)) = (&args.plaintext_out, &key.plaintext) {
        files::write(path, plaintext, Privacy::Owner, args.force.into())?;
    }
    show_data_key(&args, &session, &key)?;
    Ok(DONE)
}

async fn generate(args: &DataKeyArgs, session: &Session) -> anyhow::Result<DataKey> {
    let encryption_context = context::map(&args.context)?;
    let number_of_bytes = args.bytes.unwrap_or(0);
    let key_spec = match (args.spec, args.bytes) {
        (Some(SpecArg::Aes128), _) => DataKeySpec::Aes128,
        (Some(SpecArg::Aes256), _) | (None, None) => DataKeySpec::Aes256,
        (None, Some(_)) => DataKeySpec::Unspecified,
    };
    let (key_id, key_spec) = (args.key_id.clone(), key_spec.into());
    if args.without_plaintext {
        let request = GenerateDataKeyWithoutPlaintextRequest {
            key_id,
            encryption_context,
            key_spec,
            number_of_bytes,
        };
        let answer = session.client.generate_data_key_without_plaintext(request).await?;
        return Ok(DataKey {
            ciphertext_blob: answer.ciphertext_blob,
            plaintext: None,
            key_id: answer.key_id,
            key_material_id: answer.key_material_id,
        });
    }
    let request = GenerateDataKeyRequest { key_id, encryption_context, key_spec, number_of_bytes };
    let answer = session.client.generate_data_key(request).await?;
    Ok(DataKey {
        ciphertext_blob: answer.ciphertext_blob,
        plaintext: Some(Zeroizing::new(answer.plaintext)),
        key_id: answer.key_id,
        key_material_id: answer.key_material_id,
    })
}

fn show_data_key(args: &DataKeyArgs, session: &Session, key: &DataKey) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        ciphertext_blob: Option<Base64<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        plaintext: Option<Base64<'a>>,
        key_id: &'a str,
        key_material_id: &'a str,
    }
    let output = session.output;
    let ciphertext = args.ciphertext_out.is_none().then_some(&key.ciphertext_blob);
    let plaintext = key.plaintext.as_ref().filter(|_| args.plaintext_out.is_none());
    if output.is_json() {
        return output.json(&Answer {
            ciphertext_blob: ciphertext.map(|blob| Base64(blob)),
            plaintext: plaintext.map(|plaintext| Base64(plaintext)),
            key_id: &key.key_id,
            key_material_id: &key.key_material_id,
        });
    }
    // Below one another without a table: base64 must not be wrapped.
    output.say(format!("key id:      {}", key.key_id))?;
    output.say(format!("material id: {}", key.key_material_id))?;
    if let Some(blob) = ciphertext {
        output.say(format!("ciphertext:  {}", BASE64.encode(blob)))?;
    }
    if let Some(plaintext) = plaintext {
        let text = Zeroizing::new(BASE64.encode(plaintext));
        output.say(Zeroizing::new(format!("plaintext:   {}", *text)).as_str())?;
    }
    Ok(())
}

#[derive(Args)]
#[command(after_help = "\
The plaintext comes from a file or from standard input, never from the command line.

Examples:
  strongroom encrypt --key-id KEY --in secret.txt --out secret.blob
  printf %s \"$PASSWORD\" | strongroom encrypt --key-id KEY --encoding base64
For more than 4,096 bytes encrypt with a data key: strongroom data-key --help")]
pub(crate) struct EncryptArgs {
    /// Key id or ARN
    #[arg(long, value_name = "KEY")]
    key_id: String,
    /// Encryption context; decryption needs the same. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = context::pair)]
    context: Vec<(String, String)>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    sink: Sink,
}

#[derive(Serialize)]
struct Encrypted<'a> {
    ciphertext_blob: Base64<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key_id: Option<&'a str>,
    key_id: &'a str,
}

pub(crate) async fn encrypt(args: EncryptArgs, session: Session) -> anyhow::Result<u8> {
    args.sink.check()?;
    let encryption_context = context::map(&args.context)?;
    let mut plaintext = args.input.read("plaintext", limits::PLAINTEXT_BYTES_MAX)?;
    let request = EncryptRequest {
        key_id: args.key_id,
        plaintext: std::mem::take(&mut *plaintext),
        encryption_context,
    };
    let answer = waiting(session.output, "encrypting", session.client.encrypt(request)).await?;
    if args.sink.is_json(session.output) {
        session.output.json(&Encrypted {
            ciphertext_blob: Base64(&answer.ciphertext_blob),
            source_key_id: None,
            key_id: &answer.key_id,
        })?;
    } else {
        args.sink.write_public(session.output, &answer.ciphertext_blob)?;
    }
    Ok(DONE)
}

#[derive(Args)]
#[command(after_help = "\
The ciphertext is taken raw or in base64, whichever it is.

Examples:
  strongroom decrypt --in secret.blob --out secret.txt
  strongroom decrypt --context tenant=42 < secret.blob")]
pub(crate) struct DecryptArgs {
    /// Key id or ARN that the ciphertext must be of; it names its key itself
    #[arg(long, value_name = "KEY", default_value = "")]
    key_id: String,
    /// Encryption context given on encryption. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = context::pair)]
    context: Vec<(String, String)>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    sink: Sink,
}

pub(crate) async fn decrypt(args: DecryptArgs, session: Session) -> anyhow::Result<u8> {
    #[derive(Serialize)]
    struct Decrypted<'a> {
        plaintext: Base64<'a>,
        key_id: &'a str,
        key_material_id: &'a str,
    }
    args.sink.check()?;
    let request = DecryptRequest {
        ciphertext_blob: args.input.read_blob(limits::BLOB_BYTES_MAX)?,
        encryption_context: context::map(&args.context)?,
        key_id: args.key_id,
    };
    let answer = waiting(session.output, "decrypting", session.client.decrypt(request)).await?;
    let plaintext = Zeroizing::new(answer.plaintext);
    if args.sink.is_json(session.output) {
        session.output.json(&Decrypted {
            plaintext: Base64(&plaintext),
            key_id: &answer.key_id,
            key_material_id: &answer.key_material_id,
        })?;
    } else {
        args.sink.write_secret(session.output, &plaintext)?;
    }
    Ok(DONE)
}

#[derive(Args)]
#[command(after_help = "\
The plaintext never leaves the cluster.

Example:
  strongroom re-encrypt --destination-key-id NEW --in old.blob --out new.blob")]
pub(crate) struct ReEncryptArgs {
    /// Key id or ARN of the new key
    #[arg(long, value_name = "KEY")]
    destination_key_id: String,
    /// Encryption context of the new ciphertext. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = context::pair)]
    destination_context: Vec<(String, String)>,
    /// Key id or ARN that the old ciphertext must be of
    #[arg(long, value_name = "KEY", default_value = "")]
    source_key_id: String,
    /// Encryption context of the old ciphertext. May be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = context::pair)]
    source_context: Vec<(String, String)>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    sink: Sink,
}

pub(crate) async fn re_encrypt(args: ReEncryptArgs, session: Session) -> anyhow::Result<u8> {
    args.sink.check()?;
    let request = ReEncryptRequest {
        ciphertext_blob: args.input.read_blob(limits::BLOB_BYTES_MAX)?,
        source_encryption_context: context::map(&args.source_context)?,
        source_key_id: args.source_key_id,
        destination_key_id: args.destination_key_id,
        destination_encryption_context: context::map(&args.destination_context)?,
    };
    let call = session.client.re_encrypt(request);
    let answer = waiting(session.output, "encrypting again", call).await?;
    if args.sink.is_json(session.output) {
        session.output.json(&Encrypted {
            ciphertext_blob: Base64(&answer.ciphertext_blob),
            source_key_id: Some(&answer.source_key_id),
            key_id: &answer.key_id,
        })?;
    } else {
        args.sink.write_public(session.output, &answer.ciphertext_blob)?;
    }
    Ok(DONE)
}

#[derive(Args)]
#[command(after_help = "\
Example:
  strongroom random --bytes 32 --encoding hex")]
pub(crate) struct RandomArgs {
    /// How many, 1 to 1,024
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = byte_count())]
    bytes: u32,
    #[command(flatten)]
    sink: Sink,
}

pub(crate) async fn random(args: RandomArgs, session: Session) -> anyhow::Result<u8> {
    #[derive(Serialize)]
    struct Random<'a> {
        plaintext: Base64<'a>,
    }
    args.sink.check()?;
    let request = GenerateRandomRequest { number_of_bytes: args.bytes };
    let call = session.client.generate_random(request);
    let answer = waiting(session.output, "asking for random bytes", call).await?;
    let plaintext = Zeroizing::new(answer.plaintext);
    if args.sink.is_json(session.output) {
        session.output.json(&Random { plaintext: Base64(&plaintext) })?;
    } else {
        args.sink.write_random(session.output, &plaintext)?;
    }
    Ok(DONE)
}

fn byte_count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=limits::RANDOM_BYTES_MAX as i64)
}

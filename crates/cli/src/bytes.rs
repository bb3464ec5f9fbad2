//! Bytes in and out: plaintext and ciphertext, files and pipes.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use data_encoding::{BASE64, HEXLOWER};
use zeroize::Zeroizing;

use crate::{
    files::{self, Privacy},
    output::{self, Output},
};

/// Where bytes come from.
#[derive(Args, Debug)]
pub(crate) struct Input {
    /// File to read; - is standard input
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
}

impl Input {
    /// The file to read; `None` is standard input.
    pub(crate) fn file(&self) -> Option<&Path> {
        (!is_standard(&self.input)).then_some(&self.input)
    }

    /// Reads at most `bytes_max` bytes; `what` names them for people.
    pub(crate) fn read(&self, what: &str, bytes_max: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let read = if is_standard(&self.input) {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                eprintln!("Type or paste the {what}, then press Ctrl-D on a line of its own.");
            }
            files::read_bounded(stdin.lock(), bytes_max)
                .with_context(|| format!("can't read the {what} from standard input"))
        } else {
            let path = self.input.display();
            let file = File::open(&self.input).with_context(|| format!("can't read {path}"))?;
            files::read_bounded(file, bytes_max)
                .with_context(|| format!("can't read the {what} from {path}"))
        };
        let bytes = read?;
        if bytes.is_empty() {
            bail!("the {what} is empty");
        }
        Ok(bytes)
    }

    /// Reads a ciphertext blob of at most `bytes_max` bytes, raw or in base64.
    pub(crate) fn read_blob(&self, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
        // Base64 takes four bytes for three, and lines may end in between.
        let bytes = self.read("ciphertext", bytes_max * 2)?;
        let blob = decode_blob(&bytes);
        if blob.len() > bytes_max {
            bail!("a ciphertext has {bytes_max} bytes at most");
        }
        Ok(blob)
    }
}

/// Takes the base64 off where there is some. The second byte of a raw blob is its
/// suite, a control character and so none of base64: the two are never confused.
fn decode_blob(bytes: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let printable = text.iter().all(u8::is_ascii_graphic);
    match BASE64.decode(&text) {
        Ok(blob) if printable => blob,
        _ => bytes.to_vec(),
    }
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Encoding {
    /// Raw into files and pipes, base64 on a terminal
    Auto,
    /// As they are
    Raw,
    /// Base64, with a line end
    Base64,
    /// Hexadecimal, with a line end
    Hex,
}

/// Where bytes go.
#[derive(Args, Debug)]
pub(crate) struct Sink {
    /// File to write; - is standard output
    #[arg(long = "out", value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// How bytes are written
    #[arg(long, value_name = "ENCODING", default_value = "auto")]
    encoding: Encoding,
    /// Replace an existing file; write binary to a terminal
    #[arg(long)]
    force: bool,
}

impl Sink {
    /// Refuses an existing file before the cluster is asked.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if is_standard(&self.out) {
            return Ok(());
        }
        files::refuse_existing([&self.out], self.force.into())
    }

    /// True where a JSON document takes the place of the bytes: it was asked
    /// for, and no file was.
    pub(crate) fn is_json(&self, output: Output) -> bool {
        output.is_json() && is_standard(&self.out)
    }

    /// Writes public bytes: ciphertext.
    pub(crate) fn write_public(&self, output: Output, bytes: &[u8]) -> anyhow::Result<()> {
        self.write(&encoded(bytes, self.binary_encoding(output)), Privacy::Usual)
    }

    /// Writes random bytes: secret, and never text.
    pub(crate) fn write_random(&self, output: Output, bytes: &[u8]) -> anyhow::Result<()> {
        self.write(&encoded(bytes, self.binary_encoding(output)), Privacy::Owner)
    }

    fn binary_encoding(&self, output: Output) -> Encoding {
        match self.encoding {
            Encoding::Auto if is_standard(&self.out) && output.is_terminal() => Encoding::Base64,
            encoding => encoding,
        }
    }

    /// Writes secret bytes: plaintext that is text goes to a terminal as it is,
    /// anything else there only by force.
    pub(crate) fn write_secret(&self, output: Output, bytes: &[u8]) -> anyhow::Result<()> {
        let to_terminal = is_standard(&self.out) && output.is_terminal();
        let raw = matches!(self.encoding, Encoding::Auto | Encoding::Raw);
        if to_terminal && raw && !self.force && !is_plain_text(bytes) {
            bail!(
                "the plaintext is binary and could upset the terminal: use --out FILE, \
                 --encoding base64, or --force"
            );
        }
        self.write(&encoded(bytes, self.encoding), Privacy::Owner)?;
        if to_terminal && raw && !bytes.ends_with(b"\n") {
            // The prompt begins on a line of its own.
            output::write_all(b"\n")?;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], privacy: Privacy) -> anyhow::Result<()> {
        if is_standard(&self.out) {
            output::write_all(bytes)
        } else {
            files::write(&self.out, bytes, privacy, self.force.into())
        }
    }
}

fn encoded(bytes: &[u8], encoding: Encoding) -> Zeroizing<Vec<u8>> {
    let text = match encoding {
        Encoding::Auto | Encoding::Raw => return Zeroizing::new(bytes.to_vec()),
        Encoding::Base64 => Zeroizing::new(BASE64.encode(bytes)),
        Encoding::Hex => Zeroizing::new(HEXLOWER.encode(bytes)),
    };
    let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    line
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Text that no terminal minds.
fn is_plain_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| !text.chars().any(|c| c.is_control() && !"\n\t".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_blob_is_taken_as_it_is() {
        let blob = [1, 1, 0, 255, 10, 32];
        assert_eq!(decode_blob(&blob), blob);
        // Even where all but the suite byte is base64.
        assert_eq!(decode_blob(b"q\x01QUJDRA=="), b"q\x01QUJDRA==");
    }

    #[test]
    fn a_blob_in_base64_is_decoded_whatever_its_line_ends() {
        assert_eq!(decode_blob(b"AQL/\n"), [1, 2, 255]);
        assert_eq!(decode_blob(b"AQ\r\nL/"), [1, 2, 255]);
    }

    #[test]
    fn control_characters_are_no_plain_text() {
        assert!(!is_plain_text(b"\x1b[2J"));
        assert!(!is_plain_text(&[0xff]));
        assert!(!is_plain_text(b"a\rb"));
        assert!(is_plain_text("grüß\tdich\n".as_bytes()));
    }

    #[test]
    fn encodings_end_their_line() {
        assert_eq!(encoded(&[255], Encoding::Hex).as_slice(), b"ff\n");
        assert_eq!(encoded(&[255], Encoding::Base64).as_slice(), b"/w==\n");
        assert_eq!(encoded(&[255], Encoding::Raw).as_slice(), [255]);
    }
}

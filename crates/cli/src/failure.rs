//! Errors as users see them: what happened, why, what to do next.

use std::{collections::BTreeMap, io, process::ExitCode};

use serde::Serialize;
use strongroom_client::{Error, reason};

use crate::output::{Format, printable};

/// Exit code of whatever failed.
const FAILED: u8 = 1;

/// A failed command.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// Reason of the service, or of the client; empty: a local error.
    reason: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<Other>,
    /// The reader of our output went away: nothing to report.
    #[serde(skip)]
    broken_pipe: bool,
}

#[derive(Debug, Serialize)]
struct Other {
    address: String,
    reason: String,
    message: String,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let broken_pipe = error.chain().any(|cause| {
            let cause = cause.downcast_ref::<io::Error>();
            cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
        });
        match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
            Some(call) => Self { broken_pipe, ..Self::of_call(call, &error) },
            None => Self::local(chain(&error), broken_pipe),
        }
    }
}

impl Failure {
    fn local(message: String, broken_pipe: bool) -> Self {
        Self {
            reason: String::new(),
            message,
            hint: None,
            code: None,
            metadata: BTreeMap::new(),
            retry_after_ms: None,
            request_id: None,
            address: None,
            others: Vec::new(),
            broken_pipe,
        }
    }

    /// `error` is the call's, or one with more context around it.
    fn of_call(call: &Error, error: &anyhow::Error) -> Self {
        let context: Vec<_> = error
            .chain()
            .take_while(|cause| !cause.is::<Error>())
            .map(ToString::to_string)
            .collect();
        let message = match context.as_slice() {
            [] => call.message().to_owned(),
            context => format!("{}: {}", context.join(": "), call.message()),
        };
        let others = call.others().iter().map(|other| Other {
            address: other.address.to_string(),
            reason: other.reason.clone(),
            message: other.message.clone(),
        });
        Self {
            reason: call.reason().to_owned(),
            message,
            hint: hint(call),
            code: Some(format!("{:?}", call.code())),
            metadata: call.metadata().clone(),
            retry_after_ms: call.retry_after().map(|delay| delay.as_millis()),
            request_id: call.request_id().map(|id| id.to_string()),
            address: call.address().map(ToString::to_string),
            others: others.collect(),
            broken_pipe: false,
        }
    }

    /// Writes the failure to standard error; gives the exit code.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        if self.broken_pipe {
            return ExitCode::from(FAILED);
        }
        match format {
            Format::Json => eprintln!("{}", self.json()),
            Format::Table => anstream::eprint!("{}", self.text()),
        }
        ExitCode::from(FAILED)
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            error: &'a Failure,
        }
        serde_json::to_string_pretty(&Document { error: self })
            .expect("strings and numbers are always JSON")
    }

    fn text(&self) -> String {
        let red = anstyle::AnsiColor::Red.on_default().effects(anstyle::Effects::BOLD);
        let mut text = format!("{red}error{red:#}: ");
        if !self.reason.is_empty() {
            text.push_str(&format!("{}: ", printable(&self.reason)));
        }
        text.push_str(&format!("{}\n", printable(&self.message)));
        for (name, value) in &self.metadata {
            text.push_str(&format!("  {}: {}\n", printable(name), printable(value)));
        }
        if let Some(address) = self.address.as_ref().filter(|a| !self.message.contains(*a)) {
            text.push_str(&format!("  at: {address}\n"));
        }
        for other in &self.others {
            let message = printable(&other.message);
            text.push_str(&format!("  {}: {}: {message}\n", other.address, other.reason));
        }
        if let Some(id) = &self.request_id {
            text.push_str(&format!("  request id: {id}\n"));
        }
        if let Some(delay) = self.retry_after_ms {
            text.push_str(&format!("  try again in: {delay} ms\n"));
        }
        if let Some(hint) = self.hint {
            let bold = anstyle::Style::new().bold();
            text.push_str(&format!("{bold}next{bold:#}: {hint}\n"));
        }
        text
    }
}

/// An error and its causes in one line.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// What to do next.
fn hint(error: &Error) -> Option<&'static str> {
    Some(match error.reason() {
        reason::UNREACHABLE => {
            "is the server running, and is --address its client address? `strongroom status`"
        }
        reason::UNTRUSTED_SERVER => {
            "--ca must be the CA of the cluster, and --cert a certificate of the same cluster"
        }
        "NO_SERVING_NODE" => "start or unseal the nodes that the message names",
        "NOT_THROUGH_A_FRONT" => "give the nodes' own addresses with --address",
        reason::SEALED => "operators unseal each node with `strongroom unseal`",
        reason::UNINITIALISED => "form the cluster with `strongroom init`",
        reason::OVERLOADED => "try again later, or at another node",
        reason::NO_QUORUM => {
            "a majority of the nodes must be up and reach one another; `strongroom status`"
        }
        reason::OUTCOME_UNKNOWN | reason::DEADLINE_EXCEEDED => {
            "it may have taken effect: look before you repeat it"
        }
        reason::CONTENTION => "others changed the same things at once; try again",
        _ => match error.code() {
            strongroom_client::Code::Unauthenticated => {
                "give a token with --token-file or STRONGROOM_TOKEN; it may be revoked or expired"
            }
            strongroom_client::Code::PermissionDenied => {
                "see which role your token has with `strongroom whoami`"
            }
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_says_each_cause_once() {
        let error = Err::<(), _>(anyhow::anyhow!("no such file"))
            .context("can't read a.pem")
            .context("can't read a.pem: no such file")
            .unwrap_err();
        assert_eq!(chain(&error), "can't read a.pem: no such file");
    }

    #[test]
    fn a_local_error_is_json_with_a_message() {
        let failure = Failure::from(anyhow::anyhow!("no"));
        let value: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(value["error"]["message"], "no");
        assert_eq!(value["error"]["reason"], "");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_to_report() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::from(anyhow::Error::from(error).context("x")).broken_pipe);
    }
}

//! What a command connects with: flag, then environment, then profile, then
//! default.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use strongroom_client::Token;
use zeroize::Zeroizing;

use crate::{
    args::GlobalArgs,
    files,
    output::Format,
    profile::{self, Profile},
};

/// Seconds that a call may take where nobody says.
const TIMEOUT_DEFAULT: f64 = 10.0;
/// Longest deadline that the service honours.
const TIMEOUT_MAX: f64 = 60.0;
/// Address where nobody says: a node on this machine.
const ADDRESS_DEFAULT: &str = "127.0.0.1:7400";

/// The environment variables that this program looks at.
pub(crate) struct Environment(HashMap<String, Zeroizing<String>>);

impl Environment {
    /// Those of this process. Text that is not UTF-8 counts as not set.
    pub(crate) fn process() -> Self {
        let ours = |name: &str| {
            name.starts_with("STRONGROOM_") || name == "HOME" || name.starts_with("XDG_")
        };
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, Zeroizing::new(value.into_string().ok()?)))
        };
        let variables = std::env::vars_os().filter_map(text).filter(|(name, _)| ours(name));
        Self(variables.collect())
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Zeroizing::new((*value).to_owned()))
        };
        Self(variables.iter().map(owned).collect())
    }

    /// A variable; an empty one counts as not set.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from)
    }
}

/// Where a token comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenSource {
    File(PathBuf),
    Environment,
    None,
}

/// What a command connects with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) addresses: Vec<String>,
    pub(crate) ca: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) token: TokenSource,
    pub(crate) timeout: Duration,
    pub(crate) format: Format,
}

impl Settings {
    /// Brings the sources together; reads the profile file.
    pub(crate) fn load(global: &GlobalArgs, environment: &Environment) -> anyhow::Result<Self> {
        let asked_for = global.profile.as_deref().or(environment.var("STRONGROOM_PROFILE"));
        let profile = profile::load(asked_for, environment)?;
        Self::resolve(global, environment, profile)
    }

    fn resolve(
        global: &GlobalArgs,
        environment: &Environment,
        profile: Profile,
    ) -> anyhow::Result<Self> {
        let split = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect();
        let addresses = Some(global.address.clone())
            .filter(|list| !list.is_empty())
            .or_else(|| environment.var("STRONGROOM_ADDRESS").map(split))
            .or(Some(profile.address).filter(|list| !list.is_empty()))
            .unwrap_or_else(|| vec![ADDRESS_DEFAULT.to_owned()]);
        let path = |flag: &Option<PathBuf>, variable: &str, profile: Option<PathBuf>| {
            flag.clone().or_else(|| environment.path(variable)).or(profile)
        };
        let cert = path(&global.cert, "STRONGROOM_CERT", profile.cert);
        let key = path(&global.key, "STRONGROOM_KEY", profile.key);
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => bail!("a certificate needs its private key: give --key too"),
            (None, Some(_)) => bail!("a private key needs its certificate: give --cert too"),
        };
        Ok(Self {
            addresses,
            ca: path(&global.ca, "STRONGROOM_CA", profile.ca),
            identity,
            token: token_source(global, environment, profile.token_file),
            timeout: timeout(global, environment, profile.timeout)?,
            format: format(global, environment)?.or(profile.output).unwrap_or_default(),
        })
    }

    /// Reads the token from where it is.
    pub(crate) fn token(&self, environment: &Environment) -> anyhow::Result<Option<Token>> {
        let token = match &self.token {
            TokenSource::None => return Ok(None),
            TokenSource::Environment => {
                let text = environment.var("STRONGROOM_TOKEN").unwrap_or_default();
                Token::new(text).context("in STRONGROOM_TOKEN")?
            }
            TokenSource::File(path) => {
                let text = files::read_secret_text(path)?;
                Token::new(&text).with_context(|| format!("in {}", path.display()))?
            }
        };
        Ok(Some(token))
    }
}

/// A token named on the command line beats one in the environment, which beats
/// the profile's.
fn token_source(
    global: &GlobalArgs,
    environment: &Environment,
    profile: Option<PathBuf>,
) -> TokenSource {
    if let Some(path) = &global.token_file {
        TokenSource::File(path.clone())
    } else if environment.var("STRONGROOM_TOKEN").is_some() {
        TokenSource::Environment
    } else {
        let path = environment.path("STRONGROOM_TOKEN_FILE").or(profile);
        path.map_or(TokenSource::None, TokenSource::File)
    }
}

fn timeout(
    global: &GlobalArgs,
    environment: &Environment,
    profile: Option<f64>,
) -> anyhow::Result<Duration> {
    let variable = environment
        .var("STRONGROOM_TIMEOUT")
        .map(|text| text.parse::<f64>().context("STRONGROOM_TIMEOUT is not a number of seconds"))
        .transpose()?;
    let seconds = global.timeout.or(variable).or(profile).unwrap_or(TIMEOUT_DEFAULT);
    if !(0.01..=TIMEOUT_MAX).contains(&seconds) {
        bail!("the timeout must be from 0.01 to {TIMEOUT_MAX} seconds");
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn format(global: &GlobalArgs, environment: &Environment) -> anyhow::Result<Option<Format>> {
    let parse = |text: &str| {
        Format::from_str(text, true)
            .map_err(|_| anyhow::anyhow!("STRONGROOM_OUTPUT must be table or json"))
    };
    match global.output {
        Some(format) => Ok(Some(format)),
        None => environment.var("STRONGROOM_OUTPUT").map(parse).transpose(),
    }
}

/// The format in which errors are shown when no profile could be read.
pub(crate) fn format_before_profile(global: &GlobalArgs, environment: &Environment) -> Format {
    format(global, environment).ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            address: vec!["profile:1".to_owned()],
            ca: Some("profile-ca".into()),
            token_file: Some("profile-token".into()),
            timeout: Some(3.0),
            output: Some(Format::Json),
            ..Profile::default()
        }
    }

    const VARIABLES: [(&str, &str); 5] = [
        ("STRONGROOM_ADDRESS", "env:1, env:2"),
        ("STRONGROOM_CA", "env-ca"),
        ("STRONGROOM_TOKEN_FILE", "env-token"),
        ("STRONGROOM_TIMEOUT", "2"),
        ("STRONGROOM_OUTPUT", "TABLE"),
    ];

    fn flags() -> GlobalArgs {
        GlobalArgs {
            address: vec!["flag:1".to_owned()],
            ca: Some("flag-ca".into()),
            token_file: Some("flag-token".into()),
            timeout: Some(1.0),
            output: Some(Format::Json),
            ..GlobalArgs::default()
        }
    }

    fn resolve(flags: &GlobalArgs, variables: &[(&str, &str)], profile: Profile) -> Settings {
        Settings::resolve(flags, &Environment::of(variables), profile).unwrap()
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let flags = GlobalArgs { cert: Some("c".into()), ..GlobalArgs::default() };
        let environment = Environment::of(&[]);
        assert!(Settings::resolve(&flags, &environment, Profile::default()).is_err());
        let environment = Environment::of(&[("STRONGROOM_KEY", "k")]);
        let settings = Settings::resolve(&flags, &environment, Profile::default()).unwrap();
        assert_eq!(settings.identity, Some(("c".into(), "k".into())));
    }

    #[test]
    fn a_timeout_out_of_bounds_is_refused() {
        for seconds in [0.0, -1.0, 61.0, f64::NAN] {
            let flags = GlobalArgs { timeout: Some(seconds), ..GlobalArgs::default() };
            let settings = Settings::resolve(&flags, &Environment::of(&[]), Profile::default());
            assert!(settings.is_err(), "{seconds}");
        }
    }

    #[test]
    fn flag_beats_environment_beats_profile_beats_default() {
        let flag = resolve(&flags(), &VARIABLES, profile());
        assert_eq!(flag.addresses, ["flag:1"]);
        assert_eq!(flag.ca, Some("flag-ca".into()));
        assert_eq!(flag.token, TokenSource::File("flag-token".into()));
        assert_eq!((flag.timeout.as_secs(), flag.format), (1, Format::Json));

        let variable = resolve(&GlobalArgs::default(), &VARIABLES, profile());
        assert_eq!(variable.addresses, ["env:1", "env:2"]);
        assert_eq!(variable.ca, Some("env-ca".into()));
        assert_eq!(variable.token, TokenSource::File("env-token".into()));
        assert_eq!((variable.timeout.as_secs(), variable.format), (2, Format::Table));

        let of_profile = resolve(&GlobalArgs::default(), &[], profile());
        assert_eq!(of_profile.addresses, ["profile:1"]);
        assert_eq!(of_profile.token, TokenSource::File("profile-token".into()));
        assert_eq!((of_profile.timeout.as_secs(), of_profile.format), (3, Format::Json));

        let default = resolve(&GlobalArgs::default(), &[], Profile::default());
        assert_eq!(default.addresses, [ADDRESS_DEFAULT]);
        assert_eq!(default.token, TokenSource::None);
        assert_eq!((default.timeout.as_secs(), default.format), (10, Format::Table));
    }

    #[test]
    fn a_token_in_the_environment_beats_the_profile_and_not_the_flag() {
        let variables = [("STRONGROOM_TOKEN", "srt_x")];
        let settings = resolve(&GlobalArgs::default(), &variables, profile());
        assert_eq!(settings.token, TokenSource::Environment);
        let settings = resolve(&flags(), &variables, profile());
        assert_eq!(settings.token, TokenSource::File("flag-token".into()));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let settings =
            resolve(&GlobalArgs::default(), &[("STRONGROOM_ADDRESS", "")], Profile::default());
        assert_eq!(settings.addresses, [ADDRESS_DEFAULT]);
    }
}

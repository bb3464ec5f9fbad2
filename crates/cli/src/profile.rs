//! The profile file: connections by name.
//!
//! ```toml
//! default_profile = "production"
//!
//! [profiles.production]
//! address = ["kms-1.example.com:7400", "kms-2.example.com:7400"]
//! ca = "ca.pem"                      # relative to this file
//! cert = "operator.pem"
//! key = "operator-key.pem"
//! token_file = "token.txt"
//! timeout = 10.0                     # seconds
//! output = "table"
//! ```
//!
//! Tokens stand in files of their own, so that this one can be shared.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::{output::Format, settings::Environment};

/// Name of the profile where none is asked for and the file names none.
const DEFAULT: &str = "default";

/// One connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(default)]
    pub(crate) address: Vec<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) timeout: Option<f64>,
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    default_profile: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// Loads the profile `asked_for`, else the file's default, else none.
///
/// # Errors
///
/// When the file can't be read or holds an unknown key, or when a profile that
/// was asked for isn't there.
pub(crate) fn load(asked_for: Option<&str>, environment: &Environment) -> anyhow::Result<Profile> {
    let Some(path) = path(environment) else {
        return match asked_for {
            Some(name) => bail!("profile {name:?}: no configuration file, because HOME is not set"),
            None => Ok(Profile::default()),
        };
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match asked_for {
                Some(name) => bail!("profile {name:?}: there is no file {}", path.display()),
                None if environment.var("STRONGROOM_CLIENT_CONFIG").is_some() => {
                    bail!("STRONGROOM_CLIENT_CONFIG: there is no file {}", path.display())
                }
                None => Ok(Profile::default()),
            };
        }
        Err(error) => {
            return Err(error).with_context(|| format!("can't read {}", path.display()));
        }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    choose(&text, asked_for, folder).with_context(|| format!("in {}", path.display()))
}

/// Where the file is: `STRONGROOM_CLIENT_CONFIG`, else
/// `$XDG_CONFIG_HOME/strongroom/config.toml`, else the same under `~/.config`.
fn path(environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = environment.var("STRONGROOM_CLIENT_CONFIG") {
        return Some(path.into());
    }
    // A relative XDG_CONFIG_HOME is invalid (XDG base directory specification).
    let xdg = environment.var("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let folder = xdg.or_else(|| Some(PathBuf::from(environment.var("HOME")?).join(".config")))?;
    Some(folder.join("strongroom").join("config.toml"))
}

fn choose(text: &str, asked_for: Option<&str>, folder: &Path) -> anyhow::Result<Profile> {
    let mut file: ProfileFile = toml::from_str(text)?;
    let must_exist = asked_for.is_some() || file.default_profile.is_some();
    let name = asked_for.map(str::to_owned).or(file.default_profile).unwrap_or(DEFAULT.to_owned());
    let mut profile = match file.profiles.remove(&name) {
        Some(profile) => profile,
        None if must_exist => {
            let known: Vec<_> = file.profiles.into_keys().collect();
            bail!("there is no profile {name:?}; profiles: {}", known.join(", "));
        }
        None => Profile::default(),
    };
    for path in [&mut profile.ca, &mut profile.cert, &mut profile.key, &mut profile.token_file] {
        if let Some(path) = path
            && path.is_relative()
        {
            *path = folder.join(&path);
        }
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        default_profile = "a"
        [profiles.a]
        address = ["a:1"]
        ca = "ca.pem"
        [profiles.b]
        address = ["b:1"]
        ca = "/etc/ca.pem"
    "#;

    fn chosen(text: &str, asked_for: Option<&str>) -> anyhow::Result<Profile> {
        choose(text, asked_for, Path::new("/home/ann/.config/strongroom"))
    }

    #[test]
    fn an_unknown_profile_is_refused_and_the_known_ones_are_named() {
        let error = chosen(FILE, Some("c")).unwrap_err().to_string();
        assert!(error.contains("\"c\"") && error.contains("a, b"), "{error}");
        assert!(chosen("default_profile = \"x\"", None).is_err());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = chosen("[profiles.a]\ntoken = \"srt_x\"", None).unwrap_err().to_string();
        assert!(error.contains("token"), "{error}");
    }

    #[test]
    fn the_profile_asked_for_beats_the_default_one() {
        assert_eq!(chosen(FILE, Some("b")).unwrap().address, ["b:1"]);
        assert_eq!(chosen(FILE, None).unwrap().address, ["a:1"]);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let path = |profile: Profile| profile.ca.unwrap();
        let relative = path(chosen(FILE, None).unwrap());
        assert_eq!(relative, Path::new("/home/ann/.config/strongroom/ca.pem"));
        assert_eq!(path(chosen(FILE, Some("b")).unwrap()), Path::new("/etc/ca.pem"));
    }

    #[test]
    fn no_profile_is_needed() {
        assert!(chosen("", None).unwrap().address.is_empty());
    }

    #[test]
    fn the_file_is_found_by_environment_then_xdg_then_home() {
        let all =
            [("STRONGROOM_CLIENT_CONFIG", "/s.toml"), ("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")];
        let found = |from: usize| path(&Environment::of(&all[from..])).unwrap();
        assert_eq!(found(0), Path::new("/s.toml"));
        assert_eq!(found(1), Path::new("/x/strongroom/config.toml"));
        assert_eq!(found(2), Path::new("/h/.config/strongroom/config.toml"));
        assert_eq!(path(&Environment::of(&[])), None);
    }
}

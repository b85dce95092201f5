//! The environment as a value, and what its variables mean.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;

use super::document::Found;
use super::errors::{ConfigError, Place};
use super::values::Text;
use super::written::{Written, WrittenProvider};
use crate::providers::BUILT_IN;

/// Environment variables by name. An empty value counts as unset. The values may be keys and are never shown.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process: the one place where it is read. Variables that are not UTF-8 are left out.
    pub fn from_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value of a variable that holds a secret.
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    /// Lays what the environment says over what was written in the file.
    pub(super) fn overlay(&self, written: &mut Written, problems: &mut Vec<ConfigError>) {
        replace(&mut written.addr, self.read("AIPIPE_ADDR", problems));
        replace(&mut written.log_filter, self.read("AIPIPE_LOG", problems));
        replace(&mut written.database_path, self.read("AIPIPE_DATABASE", problems));

        let declared = written.providers.iter().map(|provider| provider.name.clone());
        let mut names: Vec<String> = declared.collect();
        names.extend(BUILT_IN.iter().map(|provider| provider.name.to_owned()));
        for name in names {
            let variable = base_url_variable(&name);
            let Some(base_url) = self.read(&variable, problems) else { continue };
            match written.providers.iter_mut().find(|provider| provider.name == name) {
                Some(provider) => provider.base_url = Some(base_url),
                None => written.providers.push(WrittenProvider {
                    base_url: Some(base_url),
                    ..WrittenProvider::named(name, Place::Variable(variable))
                }),
            }
        }
    }

    /// A variable's value, read as what it must be; where it is not, that is reported and it counts as unset.
    fn read<T: Text>(&self, name: &str, problems: &mut Vec<ConfigError>) -> Option<Found<T>> {
        let text = self.get(name)?;
        let place = Place::Variable(name.to_owned());
        match T::parse(text) {
            Some(value) => Some(Found { value, place }),
            None => {
                problems.push(ConfigError::new(place, format!("must be {}", T::allowed())));
                None
            }
        }
    }
}

/// The variable that overrides a provider's base URL.
pub(super) fn base_url_variable(provider: &str) -> String {
    format!("AIPIPE_{}_BASE_URL", provider.to_ascii_uppercase().replace('-', "_"))
}

fn replace<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

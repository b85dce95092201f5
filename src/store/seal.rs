//! Provider keys at rest: sealed with XChaCha20-Poly1305, each bound to its tenant and provider.
//!
//! The binding is the associated data: a sealed key that is copied to another row does not open there. Nonces are random, which 192 bits
//! make safe for any number of keys. The master key and every opened key are wiped from memory when dropped, and print nothing.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aipipe_actors::identity::{ProviderId, TenantId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use super::error::StoreError;
use super::master_key::MasterKey;

const NONCE_LEN: usize = 24;

/// Where the master key comes from.
#[derive(Debug)]
pub enum MasterKeySource {
    /// Given by the operator.
    Given(MasterKey),
    /// A file with mode 0600 beside the database, made when first needed.
    FileBesideDatabase,
}

/// Seals and opens with one master key.
#[derive(Debug)]
pub(super) struct Sealer {
    key: MasterKey,
}

/// What a sealed text belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound<'a> {
    /// A tenant's key for a provider.
    ProviderKey(&'a TenantId, &'a ProviderId),
    /// The known text by which a wrong master key is noticed at start-up.
    Check,
}

impl Bound<'_> {
    /// Unambiguous, since neither name can hold a slash.
    fn associated_data(self) -> String {
        match self {
            Self::ProviderKey(tenant, provider) => format!("aipipe/provider-key/{tenant}/{provider}"),
            Self::Check => "aipipe/check".to_owned(),
        }
    }
}

impl Sealer {
    /// Seals with this key.
    pub(super) fn new(key: MasterKey) -> Self {
        Self { key }
    }

    /// Reads a master key from its text.
    fn from_text(text: &SecretString) -> Result<Self, StoreError> {
        MasterKey::parse(text.expose_secret().trim()).map(Self::new).ok_or_else(|| {
            StoreError::MasterKey(
                "the master key must be 32 bytes, written as base64 or as 64 hexadecimal digits".into(),
            )
        })
    }

    /// Reads the key file, if there is one. Permissions beyond its owner's are taken away, and reported.
    pub(super) fn from_file(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::file(path)(error)),
        };
        let mode = file.metadata().map_err(StoreError::file(path))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others could read the master key; tightening to 600");
            file.set_permissions(Permissions::from_mode(0o600)).map_err(StoreError::file(path))?;
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(StoreError::file(path))?;
        Self::from_text(&SecretString::from(text.as_str())).map(Some)
    }

    /// Makes a key and keeps it in a file that only its owner may read; under the lock, since it looks before it writes. The file
    /// appears whole or not at all, and never replaces another.
    pub(super) fn generate_file(path: &Path) -> Result<Self, StoreError> {
        let key = Zeroizing::new(random::<32>()?);
        let text = Zeroizing::new(STANDARD.encode(key.as_slice()));
        let unfinished = super::beside(path, ".new");
        let write = || -> io::Result<()> {
            if path.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            // Left by a process that died here.
            match std::fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&unfinished, path)
        };
        write().map_err(StoreError::file(path))?;
        Ok(Self::new(MasterKey::from_bytes(&key)))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose().into())
    }

    /// Nonce and ciphertext of a secret.
    pub(super) fn seal(&self, secret: &str, bound: Bound<'_>) -> Result<Vec<u8>, StoreError> {
        let nonce = random::<NONCE_LEN>()?;
        let bound = bound.associated_data();
        let payload = Payload { msg: secret.as_bytes(), aad: bound.as_bytes() };
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| StoreError::MasterKey("a provider key could not be sealed".into()))?;
        Ok([nonce.as_slice(), &ciphertext].concat())
    }

    /// The secret, if it was sealed with this master key for this place and is unchanged.
    pub(super) fn open(&self, sealed: &[u8], bound: Bound<'_>) -> Option<SecretString> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let bound = bound.associated_data();
        let payload = Payload { msg: ciphertext, aad: bound.as_bytes() };
        let plain = self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()?;
        match String::from_utf8(plain) {
            Ok(text) => Some(SecretString::from(text)),
            Err(error) => {
                error.into_bytes().zeroize();
                None
            }
        }
    }
}

/// Random bytes from the system, fit for secrets.
///
/// # Errors
/// [`StoreError::NoRandomness`].
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// The last four characters of a key behind an ellipsis; none of a key of which they would be more than half.
pub(super) fn hint(key: &SecretString) -> String {
    let key = key.expose_secret();
    let shown = if key.chars().count() >= 8 { 4 } else { 0 };
    let tail: Vec<char> = key.chars().rev().take(shown).collect();
    tail.iter().rev().fold("…".to_owned(), |hint, c| hint + c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::from_text(&SecretString::from(format!("{byte:02x}").repeat(32))).unwrap()
    }

    fn names(tenant: &str, provider: &str) -> (TenantId, ProviderId) {
        (TenantId::parse(tenant).unwrap(), ProviderId::parse(provider).unwrap())
    }

    #[test]
    fn a_sealed_key_opens_only_where_it_belongs() {
        let (acme, openai) = names("acme", "openai");
        let (other, xai) = names("other", "xai");
        let sealed = sealer(1).seal("sk-secret", Bound::ProviderKey(&acme, &openai)).unwrap();
        let open = |sealer: Sealer, tenant, provider| sealer.open(&sealed, Bound::ProviderKey(tenant, provider));
        assert_eq!(open(sealer(1), &acme, &openai).unwrap().expose_secret(), "sk-secret");
        assert!(open(sealer(1), &other, &openai).is_none());
        assert!(open(sealer(1), &acme, &xai).is_none());
        assert!(open(sealer(2), &acme, &openai).is_none());
    }

    #[test]
    fn no_changed_byte_opens_and_no_two_seals_are_alike() {
        let (acme, openai) = names("acme", "openai");
        let bound = Bound::ProviderKey(&acme, &openai);
        let sealed = sealer(1).seal("sk-secret", bound).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer(1).open(&changed, bound).is_none(), "byte {at}");
            assert!(sealer(1).open(&sealed[..at], bound).is_none(), "length {at}");
        }
        assert_ne!(sealed, sealer(1).seal("sk-secret", bound).unwrap());
        assert!(!sealed.windows(9).any(|window| window == b"sk-secret"));
    }

    #[test]
    fn a_master_key_is_read_from_hexadecimal_and_base64() {
        let bound = Bound::Check;
        let sealed = sealer(0xab).seal("x", bound).unwrap();
        for text in [STANDARD.encode([0xab; 32]), URL_SAFE_NO_PAD.encode([0xab; 32]), format!(" {}\n", "AB".repeat(32))]
        {
            assert!(Sealer::from_text(&SecretString::from(text)).unwrap().open(&sealed, bound).is_some());
        }
        for bad in ["", "short", &"ab".repeat(31), &"zz".repeat(32)] {
            assert!(Sealer::from_text(&SecretString::from(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_key_file_is_private_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db.key");
        assert!(Sealer::from_file(&path).unwrap().is_none());
        let sealed = Sealer::generate_file(&path).unwrap().seal("x", Bound::Check).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let again = Sealer::from_file(&path).unwrap().unwrap();
        assert_eq!(mode(), 0o600, "wider permissions are taken away");
        assert!(again.open(&sealed, Bound::Check).is_some());
        assert!(Sealer::generate_file(&path).is_err(), "a key is never replaced");
        assert!(Sealer::from_file(&path).unwrap().unwrap().open(&sealed, Bound::Check).is_some());
    }

    #[test]
    fn hints_and_debug_give_nothing_away() {
        assert_eq!(hint(&SecretString::from("sk-proj-0123456789abcd")), "…abcd");
        assert_eq!(hint(&SecretString::from("short")), "…");
        assert!(!format!("{:?}", sealer(0xab)).contains("ab"), "{:?}", sealer(0xab));
    }
}

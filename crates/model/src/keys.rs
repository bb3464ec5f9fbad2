//! Keys and their life: create, describe, enable, disable; how requests name
//! them.

use sha2::{Digest, Sha256};
use strongroom_audit::Operation;
use strongroom_base::{AccountId, KeyId, KeyVersion, MaterialId, UnixMillis, limits};
use strongroom_crypto::{Entropy, KeyMaterial};

use crate::{
    access::{Authenticated, authorise, view},
    cluster::Cluster,
    decision::{Basis, Decided, Reading, Viewed},
    errors::{Problem, Refusal},
    events::EventDraft,
    fresh::fresh_id,
    read::{ReadError, ReadSet},
    rows::{ClientToken, Key, KeySpec, KeyState, KeyUsage, Origin},
    tables::{RowId, RowTable},
};

/// How a request names a key (AWS KMS API, `KeyId`).
#[derive(Clone, PartialEq, Eq)]
pub enum KeyReference {
    /// By its UUID.
    Id(KeyId),
    /// By its ARN: `arn:aws:kms:<region>:<account>:key/<key id>`.
    Arn {
        /// Region, of whatever cluster.
        region: String,
        /// Account, of whatever cluster.
        account: String,
        /// UUID.
        id: KeyId,
    },
}

impl KeyReference {
    /// Reads the request's `field`.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] for what is no UUID and no ARN of a key.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Refusal> {
        const FORM: &str = "a key id or the ARN of a key";
        let max = limits::KEY_ID_CHARS_MAX;
        let refused = |problem| Err(Refusal::invalid(field, problem));
        if text.is_empty() {
            return refused(Problem::Missing);
        }
        if text.len() > max {
            return refused(Problem::TooLong { max, unit: "bytes" });
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", "aws", "kms", region, account, resource] = parts.as_slice() else {
            return refused(Problem::Malformed(FORM));
        };
        match resource.strip_prefix("key/").map(str::parse) {
            Some(Ok(id)) => {
                Ok(Self::Arn { region: (*region).to_owned(), account: (*account).to_owned(), id })
            }
            _ => refused(Problem::Malformed(FORM)),
        }
    }

    /// As [`KeyReference::parse`], where an empty text means "not given".
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`].
    pub fn parse_optional(field: &'static str, text: &str) -> Result<Option<Self>, Refusal> {
        if text.is_empty() { Ok(None) } else { Self::parse(field, text).map(Some) }
    }

    /// The id of the key, where the reference means a key of this cluster.
    #[must_use]
    pub fn within(&self, cluster: &Cluster) -> Option<KeyId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Arn { region, account, id } => {
                let ours = region == cluster.region.as_str() && account == cluster.account.as_str();
                ours.then_some(*id)
            }
        }
    }
}

/// What is known of a key (AWS KMS, `KeyMetadata`). No `Debug`: the description
/// is its owner's.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyView {
    /// UUID.
    pub id: KeyId,
    /// ARN.
    pub arn: String,
    /// Account that owns it.
    pub account: AccountId,
    /// Creation, by the deciding node's clock.
    pub created: UnixMillis,
    /// State.
    pub state: KeyState,
    /// Kind of material.
    pub spec: KeySpec,
    /// What it is for.
    pub usage: KeyUsage,
    /// Description.
    pub description: String,
    /// Where its material came from.
    pub origin: Origin,
    /// Version that encrypts.
    pub current_version: KeyVersion,
    /// Identity of that version's material.
    pub current_material: MaterialId,
}

impl KeyView {
    fn new(cluster: &Cluster, key: &Key, current_material: MaterialId) -> Self {
        Self {
            id: key.id,
            arn: cluster.arn(key.id),
            account: key.account.clone(),
            created: key.created,
            state: key.state,
            spec: key.spec,
            usage: key.usage,
            description: key.description.clone(),
            origin: key.origin,
            current_version: key.current_version,
            current_material,
        }
    }
}

/// Asks for a key.
#[derive(Clone)]
pub struct CreateKey {
    description: String,
    client_token: Option<String>,
}

impl CreateKey {
    /// Checks the request. Spec and usage are numbers of `strongroom.v1`
    /// (`KeySpec`, `KeyUsage`), 0 for the default; an empty client token is none.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] naming field and bound.
    pub fn new(
        description: String,
        spec: u32,
        usage: u32,
        client_token: String,
    ) -> Result<Self, Refusal> {
        let max = limits::DESCRIPTION_CHARS_MAX;
        if description.chars().count() > max {
            let problem = Problem::TooLong { max, unit: "characters" };
            return Err(Refusal::invalid("description", problem));
        }
        let max = limits::CLIENT_TOKEN_BYTES_MAX;
        if client_token.len() > max {
            let problem = Problem::TooLong { max, unit: "bytes" };
            return Err(Refusal::invalid("client_token", problem));
        }
        if spec > 1 {
            return Err(Refusal::invalid("key_spec", Problem::UnknownValue));
        }
        if usage > 1 {
            return Err(Refusal::invalid("key_usage", Problem::UnknownValue));
        }
        let client_token = (!client_token.is_empty()).then_some(client_token);
        Ok(Self { description, client_token })
    }

    const SPEC: KeySpec = KeySpec::SymmetricDefault;
    const USAGE: KeyUsage = KeyUsage::EncryptDecrypt;

    /// SHA-256 over what the key would be, each part length-prefixed.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [Self::SPEC.name(), Self::USAGE.name(), &self.description] {
            hash.update(u64::try_from(part.len()).expect("a length fits 64 bits").to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Row of the client token: of this principal only.
    fn client_token_row(&self, basis: &Basis<'_>, caller: &Authenticated) -> Option<RowId> {
        let token = self.client_token.as_ref()?;
        let name = [caller.principal_id().as_bytes().as_slice(), token.as_bytes()].concat();
        Some(basis.index.name(RowTable::ClientTokens, &name))
    }
}

/// Creates a key; under a client token used before, tells the key made then.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn create_key(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: &CreateKey,
    mut entropy: &mut dyn Entropy,
) -> Result<Decided<KeyView>, ReadError> {
    let event = EventDraft::by(caller, Operation::CreateKey);
    let mut reading = Reading::by(basis, caller);
    if let Err(refusal) = authorise(caller, Operation::CreateKey) {
        return Ok(reading.refuse(event, refusal));
    }
    let client_token = request.client_token_row(basis, caller);
    if let Some(row) = client_token
        && let Some(earlier) = reading.find::<ClientToken>(row)?
    {
        return repeat(reading, event, &earlier, request);
    }
    let id = KeyId::from_random(fresh_id(entropy));
    let version = KeyVersion::FIRST;
    reading.expect_absent(RowTable::Keys, RowId::key(id));
    reading.expect_absent(RowTable::KeyMaterials, RowId::material(id, version));

    let material = KeyMaterial::generate(&mut entropy);
    let key = Key {
        id,
        account: basis.cluster.account.clone(),
        spec: CreateKey::SPEC,
        usage: CreateKey::USAGE,
        state: KeyState::Enabled,
        description: request.description.clone(),
        created: basis.node_time,
        current_version: version,
        origin: Origin::AwsKms,
        created_by: caller.principal_id(),
    };
    let view = KeyView::new(basis.cluster, &key, material.id());
    let mut writing = reading.settle();
    if let Some(row) = client_token {
        let operation = Operation::CreateKey.number();
        let (request_digest, created_at) = (request.digest(), basis.node_time);
        writing.put(row, ClientToken { operation, request_digest, created: id, created_at });
    }
    writing.put(RowId::material(id, version), material);
    writing.put(RowId::key(id), key);
    Ok(writing.allow(event.key(Some(id)).version(version), view))
}

/// Answers a client token that was used before.
fn repeat(
    mut reading: Reading<'_>,
    event: EventDraft,
    earlier: &ClientToken,
    request: &CreateKey,
) -> Result<Decided<KeyView>, ReadError> {
    let same = earlier.operation == Operation::CreateKey.number()
        && earlier.request_digest == request.digest();
    if !same {
        return Ok(reading.refuse(event, Refusal::IdempotencyMismatch));
    }
    let key = reading.must_find::<Key>(RowId::key(earlier.created))?;
    let version = key.current_version;
    let material = reading.must_find::<KeyMaterial>(RowId::material(key.id, version))?;
    let view = KeyView::new(reading.basis.cluster, &key, material.id());
    Ok(reading.allow(event.key(Some(key.id)).version(version), view))
}

/// Describes a key.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn describe_key(
    basis: &Basis<'_>,
    caller: &Authenticated,
    reference: &KeyReference,
) -> Viewed<KeyView> {
    view(caller, Operation::DescribeKey, || {
        let Some(id) = reference.within(basis.cluster) else {
            return Ok(Err(Refusal::KeyNotFound));
        };
        let mut reads = ReadSet::default();
        let Some(key) = reads.find::<Key>(basis.rows, RowId::key(id))? else {
            return Ok(Err(Refusal::KeyNotFound));
        };
        let row = RowId::material(id, key.current_version);
        let material = reads
            .find::<KeyMaterial>(basis.rows, row)?
            .ok_or_else(|| ReadError::dangling(RowTable::KeyMaterials))?;
        Ok(Ok(KeyView::new(basis.cluster, &key, material.id())))
    })
}

/// Enables a disabled key. Enabling an enabled key changes nothing.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn enable_key(
    basis: &Basis<'_>,
    caller: &Authenticated,
    reference: &KeyReference,
) -> Result<Decided<()>, ReadError> {
    switch(basis, caller, Operation::EnableKey, reference, KeyState::Enabled)
}

/// Disables a key: no use invoked after this is admitted succeeds. Disabling a
/// disabled key changes nothing.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn disable_key(
    basis: &Basis<'_>,
    caller: &Authenticated,
    reference: &KeyReference,
) -> Result<Decided<()>, ReadError> {
    switch(basis, caller, Operation::DisableKey, reference, KeyState::Disabled)
}

fn switch(
    basis: &Basis<'_>,
    caller: &Authenticated,
    operation: Operation,
    reference: &KeyReference,
    to: KeyState,
) -> Result<Decided<()>, ReadError> {
    let id = reference.within(basis.cluster);
    let event = EventDraft::by(caller, operation).key(id);
    let mut reading = Reading::by(basis, caller);
    let key = match id {
        Some(id) => reading.find::<Key>(RowId::key(id))?,
        None => None,
    };
    let Some(key) = key else {
        return Ok(reading.refuse(event, Refusal::KeyNotFound));
    };
    if let Err(refusal) = authorise(caller, operation) {
        return Ok(reading.refuse(event, refusal));
    }
    match key.state {
        state if state == to => Ok(reading.allow(event, ())),
        KeyState::Enabled | KeyState::Disabled => {
            let mut writing = reading.settle();
            writing.put(RowId::key(key.id), Key { state: to, ..Key::clone(&key) });
            Ok(writing.allow(event, ()))
        }
        state => Ok(reading.refuse(event, Refusal::KeyStateInvalid { key: key.id, state })),
    }
}

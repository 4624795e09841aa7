//! What a first start makes: the master key, the first user and, in a cluster, the first infrastructure.
//!
//! The rule a newcomer would break: what is made here is shown once or kept where only its owner can read it, and never
//! logged.

use crate::admin::plain;
use crate::authn::{Password, Passwords};
use crate::config::{MasterKeyPlace, Place, Serve, read_secret};
use crate::domain::{AccountName, Kubernetes, NamespaceName};
use crate::launch::kubernetes::{OwnSecret, own_namespace};
use crate::store::{MasterKey, Store};
use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// From a Secret, from a file, from the environment, or with SQLite made at the first start.
pub(super) async fn master_key(
    place: &Place,
    keeping: &MasterKeyPlace,
    may_make: bool,
    is_sealed: bool,
) -> Result<MasterKey, String> {
    let parse = |text: &str| {
        let bytes = hex::decode(text.trim())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes
            .map(MasterKey::new)
            .ok_or_else(|| "the master key must be 64 hexadecimal digits".to_owned())
    };
    if let Some(name) = &keeping.own_secret {
        let mint = || Ok(MasterKey::mint().map_err(plain)?.expose_hex());
        let secret = OwnSecret::open(name.as_str())?;
        // Another one in its place would hide that the right one is gone.
        let make = || match is_sealed {
            true => Err("its master-key is missing, and the database was sealed with it: put it back".to_owned()),
            false => mint(),
        };
        return parse(&secret.get_or_make("master-key", make).await?);
    }
    if let Some(file) = &keeping.master_key_file {
        return parse(&read_secret(file, 1_024)?);
    }
    if let Ok(text) = std::env::var("CASTOFF_MASTER_KEY")
        && !text.is_empty()
    {
        return parse(&text);
    }
    let path = place.data_dir.join("master.key");
    if path.exists() {
        return parse(&read_secret(&path, 1_024)?);
    }
    if !may_make {
        return Err("with PostgreSQL a master key is needed: `openssl rand -hex 32 > master.key`, then --master-key-file master.key; every replica needs the same one".to_owned());
    }
    if place
        .data_dir
        .join("castoff.db")
        .metadata()
        .is_ok_and(|meta| meta.len() > 0)
        && has_installation(place)
    {
        return Err(format!(
            "{} is missing, and the database was sealed with it: put it back",
            path.display()
        ));
    }
    let key = MasterKey::mint().map_err(plain)?;
    write_private(&path, &format!("{}\n", key.expose_hex()))?;
    eprintln!(
        "castoff: made a master key in {}: keep a copy apart from the database",
        path.display()
    );
    Ok(key)
}

/// Whether a start has gone as far as to seal something. The file says so; the database would need the key.
fn has_installation(place: &Place) -> bool {
    place.data_dir.join("sealed").exists()
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(fail)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(fail)?;
    fs::rename(&beside, path).map_err(fail)
}

/// Makes the first user, once. The password goes to the terminal, or to a file where there is none.
pub(super) async fn claim(config: &Serve, store: &Store, passwords: &Passwords) -> Result<(), String> {
    let system = store.system();
    if !system.is_unclaimed().await.map_err(plain)? {
        return Ok(());
    }
    let given = config
        .admin_password_file
        .as_deref()
        .map(|file| read_secret(file, 4_096))
        .transpose()?;
    let generated = given.is_none();
    let secret = config.keeping.own_secret.as_ref().filter(|_| generated);
    let given = match secret {
        Some(name) => {
            let generate = || {
                Ok(Password::generate()
                    .map_err(|error| error.to_string())?
                    .expose()
                    .to_owned())
            };
            Some(
                OwnSecret::open(name.as_str())?
                    .get_or_make("first-password", generate)
                    .await?,
            )
        }
        None => given,
    };
    let password = match given {
        Some(text) => Password::new(text).map_err(|invalid| format!("the first password {}", invalid.reason))?,
        None => Password::generate().map_err(|error| error.to_string())?,
    };
    let hash = passwords
        .hash(password.clone())
        .await
        .map_err(|error| error.to_string())?;
    let name = AccountName::parse("admin").map_err(|invalid| invalid.to_string())?;
    // Before the claim, after which nobody looks here again.
    if let Some(name) = &config.first_infrastructure {
        let namespace = NamespaceName::parse(&own_namespace()?).map_err(|invalid| invalid.to_string())?;
        let settings = Kubernetes {
            image_pull_secrets: config.first_pull_secrets.clone(),
            ..Kubernetes::of(namespace)
        };
        let settings = settings.check().map_err(|invalid| invalid.to_string())?;
        let made = system.first_infrastructure(name.clone(), settings);
        made.await.map_err(plain)?;
    }
    if !system.claim(name, hash).await.map_err(plain)? {
        return Ok(());
    }
    if let Some(secret) = secret {
        eprintln!("castoff: the first user is admin; the password is first-password in the Secret {secret}");
    }
    if !generated || secret.is_some() {
        return Ok(());
    }
    if std::io::stdout().is_terminal() {
        println!(
            "\n  The first user is admin, with the password {}\n  It is not shown again.\n",
            password.expose()
        );
        return Ok(());
    }
    let path = config.place.data_dir.join("first-password");
    write_private(&path, &format!("{}\n", password.expose()))?;
    eprintln!(
        "castoff: the first user is admin; the password is in {}: read it, then delete the file",
        path.display()
    );
    Ok(())
}

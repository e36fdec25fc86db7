//! The cursor of a scan: the last record given, as `environment/id`. Order is by id, and then by
//! environment where a scan spans several.

use base::Environment;

use crate::port::{Error, Key, Result};

pub(crate) fn write(key: &Key) -> String {
    format!("{}/{}", key.scope.environment, key.id)
}

/// Gives environment and id.
pub(crate) fn read(cursor: &str) -> Result<(Environment, &str)> {
    let wrong = || Error::Invalid { why: format!("{cursor:?} is not a cursor of a scan") };
    let (environment, id) = cursor.split_once('/').ok_or_else(wrong)?;
    Ok((Environment::parse(environment).map_err(|_| wrong())?, id))
}

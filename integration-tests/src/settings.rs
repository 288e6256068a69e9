//! Settings of servers as arguments of their commands, in the usual ways.

/// Returns `--name value` for each setting.
pub(crate) fn apart(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect()
}

/// Returns `--name=value` for each setting.
pub(crate) fn joined(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

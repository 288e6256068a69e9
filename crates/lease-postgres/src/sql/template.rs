//! Fills in the placeholders of the texts of `sql/`.

use super::table::Table;

/// Returns a text without parameters, complete.
pub(super) fn fill(source: &str, table: &Table) -> String {
    name_table(&expand(source, ""), table)
}

/// Removes the comments, and fills in what is the same for all tables.
pub(super) fn expand(source: &str, lock_timeout: &str) -> String {
    let text = without_comments(source)
        .replace("{settings}", &fragment(include_str!("../../sql/settings.sql")))
        .replace("{state}", &fragment(include_str!("../../sql/state.sql")))
        .replace("{take_over}", &fragment(include_str!("../../sql/take_over.sql")))
        .replace("{extend}", &fragment(include_str!("../../sql/extend.sql")))
        .replace("{has_listeners}", &fragment(include_str!("../../sql/has_listeners.sql")))
        .replace("{extended}", &fragment(include_str!("../../sql/extended.sql")))
        .replace("{lock_timeout}", lock_timeout);
    in_microseconds(&text)
}

/// Fills in the table. Must come last, so that nothing in its name is taken for a placeholder, and so that a line break in its
/// name cannot end a comment.
pub(super) fn name_table(text: &str, table: &Table) -> String {
    let listener_lock = table.listener_lock().to_string();
    text.replace("{channel}", &table.channel())
        .replace("{listener_lock}", &listener_lock)
        .replace("{table}", table.quoted())
}

/// Replaces `{us of x}`: a moment as microseconds since 1970, or an interval as microseconds. All types are exact: where they are
/// not, the server searches the whole search path for an operator that fits better, which another user may have created.
fn in_microseconds(text: &str) -> String {
    const BEGIN: &str = "{us of ";
    let mut parts = text.split(BEGIN);
    let mut complete = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once('}').unwrap_or((part, ""));
        complete.push_str(&format!("(pg_catalog.date_part('epoch', {expression}) * 1000000::float8)::bigint{rest}"));
    }
    complete
}

fn fragment(source: &str) -> String {
    without_comments(source).trim_end().to_owned()
}

fn without_comments(source: &str) -> String {
    source.lines().filter(|line| !line.trim_start().starts_with("--")).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_table_is_never_read_as_text_of_ours() {
        let table = Table::new("{state}", "x\n; drop table y; -- {channel} $1").unwrap();
        let text = fill("-- about it\nselect from {table}\n", &table);
        assert_eq!(text, "select from \"{state}\".\"x\n; drop table y; -- {channel} $1\"\n");
    }
}

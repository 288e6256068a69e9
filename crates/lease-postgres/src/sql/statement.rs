//! A statement in its two forms: prepared, with its parameters beside it, and as one message with everything in it.

use std::{borrow::Cow, iter, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Postgres, Row, SqlSafeStr, SqlStr,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::session;
use crate::failure::Access;

/// The placeholder for the number of the call.
const CALL: &str = "{call}";

/// How long a statement may take on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementTimeout {
    /// That of the session.
    Usual,
    /// For a page of a listing.
    Page,
    /// For a batch of a purge.
    PurgeBatch,
}

impl StatementTimeout {
    pub(crate) const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Usual => 1,
            Self::Page => 5,
            Self::PurgeBatch => 30,
        })
    }
}

/// A statement of this library.
#[derive(Debug)]
pub(crate) struct Statement {
    text: SqlStr,
    /// The text before each parameter, with the parameter's number, counted from 0.
    segments: Vec<(String, usize)>,
    rest: String,
    /// The number of parameters, without the number of the call, which is an additional last one.
    parameters: usize,
    has_call: bool,
}

/// A value of a parameter.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(Option<i64>),
    Flag(bool),
    Id(Uuid),
    Texts(Vec<Option<Cow<'a, str>>>),
    Numbers(Vec<Option<i64>>),
    Ids(Vec<Uuid>),
}

impl Statement {
    /// Creates a statement from a text with parameters (`$1`). With `{call}` in it, each row of the answer has the number of the
    /// call. `complete` fills in what is not a parameter. It is applied after the parameters have been found, so that nothing in
    /// its output is taken for one.
    pub(crate) fn new(source: &str, complete: impl Fn(&str) -> String) -> Self {
        let parameters = iter::successors(split_at_parameter(source), |(_, _, rest)| split_at_parameter(rest))
            .map(|(_, number, _)| number + 1)
            .max()
            .unwrap_or(0);
        let has_call = source.contains(CALL);
        let source = source.replace(CALL, &format!("${}::int8 as call", parameters + 1));
        let mut segments = Vec::new();
        let mut rest = source.as_str();
        let mut text = String::new();
        while let Some((before, number, after)) = split_at_parameter(rest) {
            let before = complete(before);
            text.push_str(&format!("{before}${}", number + 1));
            segments.push((before, number));
            rest = after;
        }
        let rest = complete(rest);
        text.push_str(&rest);
        // Safe: only the name of the table comes from outside, and it is quoted. Shared, so that a clone is cheap.
        let text = AssertSqlSafe(Arc::<str>::from(text)).into_sql_str();
        Self { text, segments, rest, parameters, has_call }
    }

    pub(crate) fn text(&self) -> &SqlStr {
        &self.text
    }

    /// Returns whether an answer belongs to this call. An answer without rows proves nothing.
    pub(crate) fn is_answer(&self, call: i64, rows: &[PgRow]) -> bool {
        !self.has_call || rows.iter().all(|row| row.try_get("call").ok() == Some(call))
    }

    /// Returns the prepared form.
    pub(crate) fn query(&self, values: &[Value<'_>], call: i64) -> Query<'static, Postgres, PgArguments> {
        let query = values.iter().fold(sqlx::query(self.text.clone()), |query, value| match value {
            Value::Text(text) => query.bind(text.as_deref()),
            Value::Number(number) => query.bind(*number),
            Value::Flag(flag) => query.bind(*flag),
            Value::Id(id) => query.bind(*id),
            Value::Texts(texts) => query.bind(texts.iter().map(Option::as_deref).collect::<Vec<_>>()),
            Value::Numbers(numbers) => query.bind(numbers),
            Value::Ids(ids) => query.bind(ids),
        });
        if self.has_call { query.bind(call) } else { query }
    }

    /// Returns a whole transaction as one message of the simple protocol, with all settings of a session. Any pooler carries it.
    pub(crate) fn message(&self, access: Access, timeout: StatementTimeout, values: &[Value<'_>], call: i64) -> String {
        let mut message = "begin isolation level read committed".to_owned();
        if access == Access::Write {
            message.push_str(" read write");
        }
        message.push_str("; ");
        message.push_str(&session::local_settings());
        if timeout != StatementTimeout::Usual {
            message.push_str(&format!("set local statement_timeout = '{}s'; ", timeout.duration().as_secs()));
        }
        self.write(&mut message, values, call);
        message.push_str("; commit");
        message
    }

    /// Returns the statement with its values in the text, without a transaction around it.
    pub(crate) fn to_sql(&self, values: &[Value<'_>]) -> String {
        let mut text = String::new();
        self.write(&mut text, values, 0);
        text
    }

    fn write(&self, out: &mut String, values: &[Value<'_>], call: i64) {
        for (before, number) in &self.segments {
            out.push_str(before);
            match values.get(*number) {
                Some(value) => value.write_literal(out),
                None if *number == self.parameters => write_number(out, Some(call)),
                None => {}
            }
        }
        out.push_str(&self.rest);
    }
}

/// Returns the text before the first parameter, the parameter's number from 0, and the text after it.
fn split_at_parameter(text: &str) -> Option<(&str, usize, &str)> {
    text.match_indices('$').find_map(|(at, _)| {
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = at + 1 + digits;
        let number: usize = text[at + 1..end].parse().ok()?;
        Some((&text[..at], number.checked_sub(1)?, &text[end..]))
    })
}

impl Value<'_> {
    fn write_literal(&self, out: &mut String) {
        match self {
            Self::Text(text) => write_text(out, text.as_deref()),
            Self::Number(number) => write_number(out, *number),
            Self::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Id(id) => write_id(out, *id),
            Self::Texts(texts) => write_array(out, "text", texts, |out, text| write_text(out, text.as_deref())),
            Self::Numbers(numbers) => write_array(out, "int8", numbers, |out, number| write_number(out, *number)),
            Self::Ids(ids) => write_array(out, "uuid", ids, |out, id| write_id(out, *id)),
        }
    }
}

/// Writes the form whose escapes mean the same under every `standard_conforming_strings`.
fn write_text(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => {
            out.push_str("E'");
            for character in text.chars() {
                match character {
                    // A NUL would end the message; the server refuses its escape.
                    '\0' => out.push_str("\\x00"),
                    '\'' | '\\' => out.extend([character, character]),
                    _ => out.push(character),
                }
            }
            out.push_str("'::text");
        }
        None => out.push_str("null::text"),
    }
}

fn write_number(out: &mut String, number: Option<i64>) {
    match number {
        // In quotes: the smallest number has no literal, and a sign could become an operator.
        Some(number) => out.push_str(&format!("'{number}'::int8")),
        None => out.push_str("null::int8"),
    }
}

fn write_id(out: &mut String, id: Uuid) {
    out.push_str(&format!("'{id}'::uuid"));
}

fn write_array<T>(out: &mut String, kind: &str, values: &[T], write: impl Fn(&mut String, &T)) {
    out.push_str("array[");
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write(out, value);
    }
    out.push_str(&format!("]::{kind}[]"));
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Uuid> for Value<'_> {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl<'a> FromIterator<&'a str> for Value<'a> {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        Self::Texts(texts.into_iter().map(|text| Some(text.into())).collect())
    }
}

impl<'a> FromIterator<Option<&'a str>> for Value<'a> {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(texts: I) -> Self {
        Self::Texts(texts.into_iter().map(|text| text.map(Into::into)).collect())
    }
}

impl FromIterator<Option<String>> for Value<'_> {
    fn from_iter<I: IntoIterator<Item = Option<String>>>(texts: I) -> Self {
        Self::Texts(texts.into_iter().map(|text| text.map(Into::into)).collect())
    }
}

impl FromIterator<i64> for Value<'_> {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        Self::Numbers(numbers.into_iter().map(Some).collect())
    }
}

impl FromIterator<Option<i64>> for Value<'_> {
    fn from_iter<I: IntoIterator<Item = Option<i64>>>(numbers: I) -> Self {
        Self::Numbers(numbers.into_iter().collect())
    }
}

impl FromIterator<Uuid> for Value<'_> {
    fn from_iter<I: IntoIterator<Item = Uuid>>(ids: I) -> Self {
        Self::Ids(ids.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(statement: &Statement, values: &[Value<'_>]) -> String {
        let message = statement.message(Access::Read, StatementTimeout::Usual, values, 7);
        message.split("'UTC'; ").nth(1).unwrap().strip_suffix("; commit").unwrap().to_owned()
    }

    #[test]
    fn the_usual_timeout_is_that_of_the_session() {
        let seconds = StatementTimeout::Usual.duration().as_secs();
        assert!(session::local_settings().contains(&format!("set local statement_timeout = '{seconds}s'; ")));
    }

    #[test]
    fn parameters_become_literals_that_end_where_they_should() {
        let statement = Statement::new("select $2, $1, $2 ~ '^a$'", str::to_owned);
        assert_eq!(statement.text().as_str(), "select $2, $1, $2 ~ '^a$'");
        let body = body(&statement, &[i64::MIN.into(), r"it's \' $1 { é".into()]);
        let text = r"E'it''s \\'' $1 { é'::text";
        assert_eq!(body, format!("select {text}, '-9223372036854775808'::int8, {text} ~ '^a$'"));
    }

    #[test]
    fn the_number_of_the_call_is_the_last_parameter() {
        let statement = Statement::new("select {call}, $2, $1 from {table}", |text| text.replace("{table}", "t"));
        assert_eq!(statement.text().as_str(), "select $3::int8 as call, $2, $1 from t");
        let body = body(&statement, &[true.into(), 5.into()]);
        assert_eq!(body, "select '7'::int8::int8 as call, '5'::int8, true from t");
    }

    #[test]
    fn arrays_and_nulls_have_their_types() {
        let statement = Statement::new("$1 $2 $3 $4 $5", str::to_owned);
        let none: [Uuid; 0] = [];
        let values = [
            ["a", "b"].into_iter().collect(),
            [Some(1), None].into_iter().collect(),
            none.into_iter().collect(),
            Value::Text(None),
            Value::from(None::<i64>),
        ];
        let expected = "array[E'a'::text, E'b'::text]::text[] array['1'::int8, null::int8]::int8[] array[]::uuid[] \
                        null::text null::int8";
        assert_eq!(body(&statement, &values), expected);
    }

    #[test]
    fn what_is_filled_in_is_never_taken_for_a_parameter() {
        let statement = Statement::new("select $1 from {table}", |text| text.replace("{table}", "\"$1 '$2\""));
        assert_eq!(body(&statement, &[true.into()]), "select true from \"$1 '$2\"");
        assert_eq!(statement.text().as_str(), "select $1 from \"$1 '$2\"");
    }
}

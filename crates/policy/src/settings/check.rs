//! Walks a document along the table of [`shape`](super::shape) and reports whatever does not fit: unknown
//! fields with the nearest known name, missing ones, wrong types, wrong forms. It never stops at the first.

use super::finding::Findings;
use super::shape::{Field, ROOT, Shape, fields};
use super::source::{Spot, Tree, Value, integer, kind};
use crate::nearest;
use std::fmt;

/// The way to a value, for messages: `keys.app.limits`.
#[derive(Copy, Clone)]
struct Path<'p> {
    above: Option<&'p Path<'p>>,
    name: &'p str,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above.filter(|above| !above.name.is_empty()) {
            fmt::Display::fmt(above, f)?;
            if !self.name.starts_with('[') {
                f.write_str(".")?;
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-[]".contains(c);
        match self.name {
            name if name.chars().all(plain) && !name.is_empty() => f.write_str(name),
            // A name of the user's, which may be anything.
            name => write!(f, "{:?}", name.chars().take(60).collect::<String>()),
        }
    }
}

/// Checks a whole document.
pub(super) fn root(tree: &Tree<'_>, findings: &mut Findings) {
    if let Shape::Table(groups) = &ROOT {
        table(&Path { above: None, name: "" }, tree, 0, groups, findings);
    }
}

fn table(
    path: &Path<'_>,
    tree: &Tree<'_>,
    start: usize,
    groups: &'static [&'static [Field]],
    findings: &mut Findings,
) {
    for (key, value) in tree {
        if findings.full() {
            return;
        }
        let name: &str = key.get_ref();
        match fields(groups).find(|field| field.name == name) {
            Some(field) => {
                let own = Path { above: Some(path), name };
                if matches!(field.shape, Shape::Reserved) {
                    let message = format!("`{own}` is not available in this version");
                    findings.error(findings.place(key.span().start), message, None);
                } else {
                    one(&own, value, &field.shape, findings);
                }
            }
            None => unknown(path, name, key.span().start, groups, findings),
        }
    }
    for field in fields(groups).filter(|field| field.required && !tree.contains_key(field.name)) {
        let message = format!("`{path}` has no `{}`", field.name);
        findings.error(findings.place(start), message, Some(field.doc.to_owned()));
    }
}

fn unknown(
    path: &Path<'_>,
    name: &str,
    start: usize,
    groups: &'static [&'static [Field]],
    findings: &mut Findings,
) {
    let known =
        || fields(groups).filter(|field| !matches!(field.shape, Shape::Reserved)).map(|field| field.name);
    let help = match nearest::one(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
    };
    let own = Path { above: Some(path), name };
    let message = if path.name.is_empty() {
        format!("unknown field `{own}`")
    } else {
        format!("unknown field `{}` in `{path}`", Path { above: None, name })
    };
    findings.error(findings.place(start), message, Some(help));
}

fn one(path: &Path<'_>, spot: &Spot<'_>, shape: &'static Shape, findings: &mut Findings) {
    if findings.full() {
        return;
    }
    let at = spot.span().start;
    let value = spot.get_ref();
    let complaint = match (shape, value) {
        (Shape::Bool, Value::Boolean(_)) => None,
        (Shape::Integer { least, most }, Value::Integer(_)) => match integer(value) {
            Some(number) if (*least..=*most).contains(&number) => None,
            _ => Some(format!("must be from {least} to {most}")),
        },
        (Shape::Weight, Value::Integer(_)) if integer(value).is_some_and(|number| number >= 0) => None,
        (Shape::Weight, Value::Float(float)) if weight(float.as_str()).is_some() => None,
        (Shape::Weight, Value::Integer(_) | Value::Float(_)) => {
            Some("must be a number from 0 up, such as 95".to_owned())
        }
        (Shape::Text(form), Value::String(text)) => return formed(path, text, at, form.check, findings),
        (Shape::Decimal, Value::String(text)) => {
            return formed(path, text, at, |text| super::value::amount(text).map(drop), findings);
        }
        (Shape::Decimal, Value::Integer(_)) => match integer(value) {
            Some(number) if (0..=9_000_000_000).contains(&number) => None,
            _ => Some("must be from 0 to 9000000000".to_owned()),
        },
        (Shape::Choice(names), Value::String(text)) => return chosen(path, text, at, names, findings),
        (Shape::List(of, most), Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                one(&Path { above: Some(path), name: &format!("[{index}]") }, item, of, findings);
            }
            (list.len() > *most).then(|| format!("has {} entries, more than {most}", list.len()))
        }
        (Shape::Table(groups), Value::Table(tree)) => return table(path, tree, at, groups, findings),
        (Shape::Named(form, of), Value::Table(tree)) => {
            for (key, item) in tree {
                let own = Path { above: Some(path), name: key.get_ref() };
                formed(&own, key.get_ref(), key.span().start, form.check, findings);
                one(&own, item, of, findings);
            }
            None
        }
        (Shape::Either(first, second), _) => {
            let shape = if fits(first, value) { first } else { second };
            if !fits(shape, value) {
                let message = format!(
                    "`{path}`: expected {} or {}, found {}",
                    wanted(first),
                    wanted(second),
                    kind(value)
                );
                return findings.error(findings.place(at), message, None);
            }
            return one(path, spot, shape, findings);
        }
        (Shape::Json, Value::Datetime(_)) => Some("a date is nothing in JSON: put it in quotes".to_owned()),
        (Shape::Json, _) => None,
        (Shape::Decimal, Value::Float(_)) => {
            let help = Some("put it in quotes, so that it stays exact: \"0.10\"".to_owned());
            return findings.error(
                findings.place(at),
                format!("`{path}`: expected a decimal in quotes, found a float"),
                help,
            );
        }
        _ => Some(format!("expected {}, found {}", wanted(shape), kind(value))),
    };
    if let Some(complaint) = complaint {
        findings.error(findings.place(at), format!("`{path}`: {complaint}"), None);
    }
}

/// Reports what a form says about a text.
fn formed(
    path: &Path<'_>,
    text: &str,
    at: usize,
    check: fn(&str) -> Result<(), super::value::Fault>,
    findings: &mut Findings,
) {
    if let Err(fault) = check(text) {
        findings.error(findings.place(at), format!("`{path}`: {}", fault.message), fault.help);
    }
}

fn chosen(path: &Path<'_>, text: &str, at: usize, names: &'static [&'static str], findings: &mut Findings) {
    if names.contains(&text) {
        return;
    }
    let help = match nearest::one(text, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!(
            "one of {}",
            names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        ),
    };
    let given: String = text.chars().take(60).collect();
    findings.error(findings.place(at), format!("`{path}`: unknown value {given:?}"), Some(help));
}

/// Whether a value is of the type of a shape; whether it is sound is seen later.
fn fits(shape: &Shape, value: &Value<'_>) -> bool {
    match shape {
        Shape::Text(_) | Shape::Choice(_) => value.is_str(),
        Shape::List(..) => value.is_array(),
        Shape::Table(_) | Shape::Named(..) => value.is_table(),
        _ => false,
    }
}

/// Continues "expected …".
fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "true or false".to_owned(),
        Shape::Integer { .. } => "an integer".to_owned(),
        Shape::Weight => "a number".to_owned(),
        Shape::Text(form) => form.what.to_owned(),
        Shape::Decimal => "a decimal in quotes such as \"0.10\"".to_owned(),
        Shape::Choice(names) => {
            names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ")
        }
        Shape::List(of, _) => format!("a list, each {}", wanted(of)),
        Shape::Table(_) | Shape::Named(..) => "a table".to_owned(),
        Shape::Either(first, second) => format!("{} or {}", wanted(first), wanted(second)),
        Shape::Json => "a value".to_owned(),
        Shape::Reserved => "nothing".to_owned(),
    }
}

/// A float that can be a weight.
pub(super) fn weight(text: &str) -> Option<f64> {
    text.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0)
}

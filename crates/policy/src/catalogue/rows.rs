//! The rows of `vendors.toml`, as they stand in the file, and the checks that make one a [`Vendor`].

use super::{Confidence, Door, Exception, Fact, Kind, Quirk, Region, ShapedDoor, Vendor};
use crate::ids::Name;
use crate::settings::base_url;
use crate::snapshot::{Auth, Dialect, Origin, VectorShape};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VendorFile {
    sources: BTreeMap<Name, SourceRow>,
    vendor: Vec<VendorRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceRow {
    page: Name,
    date: Name,
    confidence: Confidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorRow {
    name: Name,
    title: Name,
    kind: Kind,
    region: Region,
    dialect: Dialect,
    openai: Option<Name>,
    anthropic: Option<Name>,
    gemini: Option<Name>,
    #[serde(default)]
    responses: bool,
    responses_url: Option<Name>,
    rerank: Option<VectorShape>,
    rerank_url: Option<Name>,
    embed: Option<VectorShape>,
    embed_url: Option<Name>,
    root_path: Option<Name>,
    api_version: Option<Name>,
    auth: Name,
    openai_auth: Option<Name>,
    anthropic_auth: Option<Name>,
    #[serde(default)]
    key_variables: Vec<Name>,
    base_variable: Option<Name>,
    #[serde(default = "yes")]
    found: bool,
    abort_stops_billing: bool,
    stream_usage: bool,
    #[serde(default)]
    discover: bool,
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    simulated: bool,
    #[serde(default)]
    quirks: Vec<Quirk>,
    #[serde(default)]
    except: Vec<Exception>,
    note: Option<Name>,
    source: Name,
    #[serde(default)]
    sources: BTreeMap<Name, Name>,
}

fn yes() -> bool {
    true
}

fn auth(written: &Name) -> Auth {
    match &**written {
        "bearer" => Auth::Bearer,
        "none" => Auth::None,
        _ => Auth::Header(Arc::clone(written)),
    }
}

impl VendorFile {
    /// The vendors, or what is wrong with a row.
    pub(super) fn vendors(self) -> Result<Vec<Vendor>, String> {
        let VendorFile { sources, vendor } = self;
        vendor.into_iter().map(|row| row.vendor(&sources)).collect()
    }
}

impl VendorRow {
    fn vendor(self, sources: &BTreeMap<Name, SourceRow>) -> Result<Vendor, String> {
        let facts = self.facts(sources)?;
        let doors = self.doors()?;
        let path_of = |url: &Name| match place(&self.name, url) {
            Ok((origin, path))
                if doors.iter().all(|door| door.origin.as_ref().is_none_or(|o| *o == origin)) =>
            {
                Ok(Name::from(path))
            }
            Ok(_) => Err(format!("`{}`: `{url}` is not where the other doors are", self.name)),
            Err(why) => Err(why),
        };
        let responses_path = self.responses_url.as_ref().map(path_of).transpose()?;
        let shaped = |what: &str, shape: Option<VectorShape>, url: &Option<Name>| match (shape, url) {
            (Some(shape), Some(url)) => {
                Ok(Some(ShapedDoor { shape, url: Arc::clone(url), path: path_of(url)? }))
            }
            (None, None) => Ok(None),
            _ => Err(format!("`{}`: {what} and {what}_url belong together", self.name)),
        };
        let rerank = shaped("rerank", self.rerank, &self.rerank_url)?;
        let embed = shaped("embed", self.embed, &self.embed_url)?;
        Ok(Vendor {
            name: self.name,
            title: self.title,
            kind: self.kind,
            region: self.region,
            dialect: self.dialect,
            doors,
            responses: self.responses,
            responses_url: self.responses_url,
            responses_path,
            rerank,
            embed,
            root_path: self.root_path,
            api_version: self.api_version,
            key_variables: self.key_variables,
            base_variable: self.base_variable,
            found: self.found,
            abort_stops_billing: self.abort_stops_billing,
            stream_usage: self.stream_usage,
            discover: self.discover,
            closed: self.closed,
            simulated: self.simulated,
            quirks: self.quirks,
            exceptions: self.except,
            note: self.note,
            facts,
        })
    }

    /// The native door first; a native one without an address is there all the same.
    fn doors(&self) -> Result<Vec<Door>, String> {
        let mut doors: Vec<Door> = Vec::new();
        let written = [
            (Dialect::OpenAi, &self.openai, &self.openai_auth),
            (Dialect::Anthropic, &self.anthropic, &self.anthropic_auth),
            (Dialect::Gemini, &self.gemini, &None),
        ];
        for (dialect, url, own) in written {
            if url.is_none() && dialect != self.dialect {
                continue;
            }
            let auth = auth(own.as_ref().unwrap_or(&self.auth));
            let (origin, path) = match url {
                Some(url) => {
                    let (origin, path) = place(&self.name, url)?;
                    (Some(origin), dialect.versioned(&path))
                }
                None => (None, Name::default()),
            };
            if doors.iter().any(|door| door.origin != origin) {
                return Err(format!("`{}`: its doors have several origins", self.name));
            }
            let door = Door { dialect, base_url: url.clone(), origin, base_path: path, auth };
            doors.insert(if dialect == self.dialect { 0 } else { doors.len() }, door);
        }
        Ok(doors)
    }

    /// Every fact that the row states, each with its source.
    fn facts(&self, sources: &BTreeMap<Name, SourceRow>) -> Result<Vec<Fact>, String> {
        let stated = [
            ("openai", self.openai.is_some()),
            ("anthropic", self.anthropic.is_some()),
            ("gemini", self.gemini.is_some()),
            ("responses", self.responses),
            ("rerank", self.rerank.is_some()),
            ("embed", self.embed.is_some()),
            ("api_version", self.api_version.is_some()),
            ("auth", true),
            ("anthropic_auth", self.anthropic.is_some() && self.dialect != Dialect::Anthropic),
            ("key_variables", !self.key_variables.is_empty()),
            ("base_variable", self.base_variable.is_some()),
            ("abort_stops_billing", true),
            ("stream_usage", true),
            ("quirks", !self.quirks.is_empty()),
        ];
        for named in self.sources.keys() {
            if !stated.iter().any(|(fact, there)| *there && **fact == **named) {
                return Err(format!("`{}`: a source for `{named}`, which the row does not state", self.name));
            }
        }
        let sourced = stated.into_iter().filter(|(_, there)| *there).map(|(of, _)| {
            let named = self.sources.get(of).unwrap_or(&self.source);
            let row = sources.get(named).ok_or(format!("`{}`: no source `{named}`", self.name))?;
            let (page, date) = (Arc::clone(&row.page), Arc::clone(&row.date));
            Ok(Fact { of, page, date, confidence: row.confidence })
        });
        sourced.collect()
    }
}

fn place(vendor: &Name, url: &Name) -> Result<(Origin, String), String> {
    base_url(url).map_err(|why| format!("`{vendor}`: `{url}`: {why}"))
}

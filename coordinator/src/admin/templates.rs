//! Templates that the cluster shares, page by page.

use catchment_proto::cluster::v1::{
    Definition, Layout, ListTemplatesRequest, ListTemplatesResponse, ScopeState,
};
use catchment_proto::node::v1::{Template, TemplateField, TemplateOrigin};
use tonic::Status;

use super::Admin;
use crate::filter::{ExporterMatch, page};
use crate::scope::ScopeId;
use crate::validate;

/// Scopes that are looked at in one go.
const STEP: usize = 4096;

/// The template that a page ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    scope: ScopeId,
    template: u32,
    port: u32,
}

impl Token {
    fn write(&self) -> String {
        let ScopeId { zone, exporter, version, domain } = &self.scope;
        // The zone may have any character, so it is the last.
        format!("{exporter} {version} {domain} {} {} {zone}", self.template, self.port)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ' ');
        let exporter = parts.next()?.parse().ok()?;
        let version = parts.next()?.parse().ok()?;
        let domain = parts.next()?.parse().ok()?;
        let (template, port) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let zone = parts.next()?.into();
        Some(Self { scope: ScopeId { zone, exporter, version, domain }, template, port })
    }
}

impl Admin {
    pub(super) fn templates(&self, request: &ListTemplatesRequest) -> Result<ListTemplatesResponse, Status> {
        let wanted = ExporterMatch::new(request.filter.as_ref())?;
        let (size, token) = page(request.page.as_ref());
        let mut at = match token {
            "" => None,
            token => {
                let wrong =
                    || Status::invalid_argument(format!("page.token: `{token}` is none that was given out"));
                Some(Token::read(token).ok_or_else(wrong)?)
            }
        };
        let mut templates = Vec::new();
        // The scope in which the page before ended is looked at again.
        if let Some(at) = &at
            && let Some(scope) = self.store.view().scope(&at.scope)
        {
            let after = (at.template, at.port);
            list(
                &scope.to_message(),
                request,
                |definition| (definition.id, definition.port) > after,
                &mut templates,
            );
        }
        let mut after = at.take().map(|token| token.scope);
        while templates.len() <= size {
            let scopes = self.store.view().scopes_after(after.as_ref(), STEP);
            let ended = scopes.len() < STEP;
            for scope in &scopes {
                let Some(id) = scope.key.as_ref().and_then(|key| validate::scope_id(key).ok()) else {
                    continue;
                };
                if wanted.takes(&id.zone, id.exporter) {
                    list(scope, request, |_| true, &mut templates);
                }
                after = Some(id);
                if templates.len() > size {
                    break;
                }
            }
            if ended {
                break;
            }
        }
        let more = templates.len() > size;
        templates.truncate(size);
        let last = templates.last().filter(|_| more).and_then(token_of);
        Ok(ListTemplatesResponse { next_page_token: last.unwrap_or_default(), templates })
    }
}

fn token_of(template: &Template) -> Option<String> {
    let scope = validate::scope_id(template.key.as_ref()?).ok()?;
    Some(Token { scope, template: template.id, port: template.port }.write())
}

fn list(
    scope: &ScopeState,
    request: &ListTemplatesRequest,
    wanted: impl Fn(&Definition) -> bool,
    templates: &mut Vec<Template>,
) {
    let asked = |definition: &&Definition| request.id == 0 || definition.id == request.id;
    for definition in scope.definitions.iter().filter(asked).filter(|definition| wanted(definition)) {
        let empty = Layout::default();
        let layout = scope.layouts.get(definition.layout as usize).unwrap_or(&empty);
        let conflict = scope
            .definitions
            .iter()
            .any(|other| other.id == definition.id && other.layout != definition.layout);
        let field = |specifier: &catchment_proto::cluster::v1::FieldSpecifier| TemplateField {
            specifier: Some(*specifier),
            // Elements' names are the nodes' and catchctl's to know.
            name: String::new(),
        };
        templates.push(Template {
            key: scope.key.clone(),
            id: definition.id,
            port: definition.port,
            order: definition.order,
            kind: layout.kind,
            field_count: layout.fields.len() as u32,
            min_record_bytes: layout
                .fields
                .iter()
                .map(|field| if field.variable { 1 } else { field.length })
                .sum(),
            fields: if request.with_fields { layout.fields.iter().map(field).collect() } else { Vec::new() },
            origin: TemplateOrigin::Cluster.into(),
            last_seen_ns: 0,
            suspect: false,
            // Only what has decoded data is shared.
            proven: true,
            conflict,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_are_read_as_they_were_written(
            zone in "\\PC{0,12}",
            exporter: std::net::IpAddr,
            domain: u32,
            template: u32,
            port: u32,
        ) {
            let scope = ScopeId { zone: zone.into(), exporter, version: 10, domain };
            let token = Token { scope, template, port };
            prop_assert_eq!(Token::read(&token.write()), Some(token));
        }

        #[test]
        fn what_is_no_token_is_none(text in "[0-9a-f. ]{0,30}") {
            if let Some(token) = Token::read(&text) {
                prop_assert!(text.split(' ').count() >= 6, "{:?}", token);
            }
        }
    }
}

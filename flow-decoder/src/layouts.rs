//! Layouts by content: equal ones are one [`Layout`], whoever announced them, and are compiled when data first needs it.
//!
//! A node that is told of 200,000 templates decodes by few of them, so a layout is its fields and nothing more until then.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock};

use crate::exporter_store::lock;
use crate::plan::Plan;
use crate::template::Template;

/// A template's layout and, once data has come by it, its plan.
#[derive(Debug)]
pub(crate) struct Layout {
    template: Arc<Template>,
    plan: OnceLock<Arc<Plan>>,
}

impl Layout {
    pub(crate) fn template(&self) -> &Arc<Template> {
        &self.template
    }

    /// The plan, compiled at the first call.
    pub(crate) fn plan(&self) -> &Arc<Plan> {
        self.plan.get_or_init(|| Arc::new(Plan::compile(self.template.clone())))
    }
}

/// All layouts in use. Those that nobody uses any more go when the number has grown by a quarter.
#[derive(Debug, Default)]
pub(crate) struct Layouts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_content: HashSet<ByContent>,
    sweep_at: usize,
}

/// A layout that is found by its template.
#[derive(Debug)]
struct ByContent(Arc<Layout>);

impl Borrow<Template> for ByContent {
    fn borrow(&self) -> &Template {
        &self.0.template
    }
}

impl Hash for ByContent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.template.hash(state);
    }
}

impl PartialEq for ByContent {
    fn eq(&self, other: &Self) -> bool {
        self.0.template == other.0.template
    }
}

impl Eq for ByContent {}

impl Layouts {
    /// The one layout that equals `template`.
    pub(crate) fn intern(&self, template: &Arc<Template>) -> Arc<Layout> {
        let mut known = lock(&self.0);
        if let Some(ByContent(layout)) = known.by_content.get(&**template) {
            return layout.clone();
        }
        if known.by_content.len() >= known.sweep_at {
            known.by_content.retain(|ByContent(layout)| Arc::strong_count(layout) > 1);
            known.sweep_at = known.by_content.len() + known.by_content.len() / 4 + 64;
        }
        let layout = Arc::new(Layout { template: template.clone(), plan: OnceLock::new() });
        known.by_content.insert(ByContent(layout.clone()));
        layout
    }

    /// Distinct layouts that are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).by_content.len()
    }
}
